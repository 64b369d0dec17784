"""Vectors as words of a learned vocabulary."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.module import Module


class Quantized(NamedTuple):
    """What a ``VectorQuantizer`` says of vectors.

    Args:
        vectors: The nearest words, (..., dim); their gradient goes to the vectors that came in.
        codes: Numbers of the words, (...) int64.
        loss: How far the vectors are from their words, a scalar that draws the former to the latter.
    """

    vectors: Tensor
    codes: Tensor
    loss: Tensor


class VectorQuantizer(Module):
    """Replaces each vector by the nearest of N words, which follow the means of the vectors that chose them.

    Words are no parameters: in training they move by exponential averages. A word that hardly anybody chooses
    any more becomes one of the vectors of the present batch, so that the vocabulary does not collapse. On
    several devices every process must see the same words; ``torch.distributed`` sums what was chosen.

    Args:
        dim: Channels of a vector.
        words: How many.
        decay: Of the averages.
        commitment: Weight of the loss.
        least: A word that is chosen less often than this in a batch, on average, is replaced.

    Shape:
        x: (..., dim). Output: ``Quantized``.

    Source:
        van den Oord et al. 2017, https://arxiv.org/abs/1711.00937, section 3 and appendix A.1; words that are
        chosen anew after Dhariwal et al. 2020, https://arxiv.org/abs/2005.00341, section 3.
    """

    words: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(
        self,
        dim: int,
        *,
        words: int,
        decay: float = 0.99,
        commitment: float = 0.25,
        least: float = 0.03,
    ) -> None:
        super().__init__()
        if dim < 1 or words < 2:
            raise UserError(f"dim is {dim} and words {words}; they must be at least 1 and 2")
        if not 0 <= decay < 1:
            raise UserError(f"decay is {decay}; it must be at least 0 and less than 1")
        self.decay, self.commitment, self.least = decay, commitment, least
        self.register_buffer("words", torch.randn(words, dim))
        # Averages that have seen nothing: the first batch replaces all of them.
        self.register_buffer("counts", torch.zeros(words))
        self.register_buffer("sums", torch.zeros(words, dim))

    def codes(self, x: Tensor) -> Tensor:
        """Returns the number of the nearest word of each vector, (...)."""
        distance = (
            self.words.square().sum(dim=1) - 2 * x @ self.words.T
        )  # but for the length of x, which is the same for all words
        return distance.argmin(dim=-1)

    def vectors(self, codes: Tensor) -> Tensor:
        """Returns words by their numbers, (..., dim)."""
        return F.embedding(codes, self.words)

    def forward(self, x: Tensor) -> Quantized:
        """Returns the words, and in training moves them."""
        if self.training and not torch.compiler.is_exporting():
            self._learn(x.detach().reshape(-1, x.shape[-1]).to(self.words.dtype))
        codes = self.codes(x)
        words = self.vectors(codes).to(x.dtype)
        loss = self.commitment * F.mse_loss(x, words)
        return Quantized(x + (words - x).detach(), codes, loss)

    @torch.no_grad()
    def _learn(self, x: Tensor) -> None:
        if not self.counts.any():
            self.words.copy_(_some(x, len(self.words)))
        chosen = F.one_hot(self.codes(x), len(self.words)).to(x.dtype)
        counts, sums = chosen.sum(dim=0), chosen.T @ x
        fresh = _some(x, len(self.words))
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            for one in (counts, sums):
                torch.distributed.all_reduce(one)
            torch.distributed.broadcast(fresh, 0)
        first = not self.counts.any()
        weight = 1.0 if first else 1 - self.decay
        self.counts.lerp_(counts, weight)
        self.sums.lerp_(sums, weight)
        dead = self.counts < self.least
        self.counts.masked_fill_(dead, 1.0)
        self.sums.copy_(torch.where(dead[:, None], fresh, self.sums))
        self.words.copy_(self.sums / self.counts[:, None])


def _some(x: Tensor, number: int) -> Tensor:
    """Returns vectors of a batch, drawn evenly, with repetition where there are too few."""
    if len(x) >= number:
        return x[torch.randperm(len(x), device=x.device)[:number]]
    return x[torch.randint(len(x), (number,), device=x.device)]
