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
    any more becomes one of those vectors that have no good word, so that the vocabulary does not collapse. On
    several devices every process must see the same words; ``torch.distributed`` sums what was chosen.

    Args:
        dim: Channels of a vector.
        words: How many.
        decay: Of the averages.
        commitment: Weight of the loss.
        least: A word that is chosen less often than this in a batch, on average, may be replaced.
        tolerance: By a vector whose squared distance from its word is more than this share of their variance.

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
        tolerance: float = 0.05,
    ) -> None:
        super().__init__()
        if dim < 1 or words < 2:
            raise UserError(f"dim is {dim} and words {words}; they must be at least 1 and 2")
        if not 0 <= decay < 1:
            raise UserError(f"decay is {decay}; it must be at least 0 and less than 1")
        self.decay, self.commitment = decay, commitment
        self.least, self.tolerance = least, tolerance
        self.register_buffer("words", torch.randn(words, dim))
        self.register_buffer("counts", torch.zeros(words))
        self.register_buffer("sums", torch.zeros(words, dim))

    def codes(self, x: Tensor) -> Tensor:
        """Returns the number of the nearest word of each vector, (...)."""
        distance = (
            self.words.square().sum(dim=1) - 2 * x @ self.words.T
        )  # but for the length of x, which is the same for all words
        # Words that nobody has taken are none, once there are some.
        taken = self.counts > 0
        distance = distance.masked_fill(~taken & taken.any(), float("inf"))
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
        if not bool(self.counts.any()):
            self._take(0, x[torch.randint(len(x), (1,), device=x.device)][0])
        self._add_words(x)
        several = torch.distributed.is_available() and torch.distributed.is_initialized()
        if several:
            # New words are those of the first process.
            for one in (self.words, self.counts, self.sums):
                torch.distributed.broadcast(one, 0)
        chosen = F.one_hot(self.codes(x), len(self.words)).to(x.dtype)
        counts, sums = chosen.sum(dim=0), chosen.T @ x
        if several:
            for one in (counts, sums):
                torch.distributed.all_reduce(one)
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        # A mean of next to nothing would be noise.
        known = self.counts >= self.least / 10
        words = self.sums / self.counts[:, None].clamp_min(1e-12)
        self.words.copy_(torch.where(known[:, None], words, self.words))

    def _add_words(self, x: Tensor) -> None:
        """Gives words that hardly anybody chooses to vectors that have no good one, like k-means++.

        One after the other, each vector drawn by its squared distance from its word. What is said well needs
        no second word: it would change the codes of what is learned from them, for nothing.
        """
        distance = (x - self.vectors(self.codes(x))).square().sum(dim=-1)
        enough = self.tolerance * (x - x.mean(dim=0)).square().sum(dim=-1).mean()
        for word in (self.counts < self.least).nonzero()[:, 0].tolist():
            if not bool((distance > enough).any()):
                return
            drawn = torch.multinomial(distance, 1)[0]
            self._take(word, x[drawn])
            distance = torch.minimum(distance, (x - x[drawn]).square().sum(dim=-1))

    def _take(self, word: int, vector: Tensor) -> None:
        self.words[word] = self.sums[word] = vector
        self.counts[word] = 1.0
