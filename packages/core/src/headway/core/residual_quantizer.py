"""Vectors as several words each: every further word says what the ones before have left over."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.module import Module
from headway.core.vector_quantizer import Quantized, VectorQuantizer


class ResidualQuantizer(Module):
    """Replaces each vector by the sum of one word of each of several vocabularies, from coarse to fine.

    The first vocabulary knows vectors, the second what is missing from their words to them, and so on: with N
    words each, L of them say N to the power of L things.

    Args:
        dim: Channels of a vector.
        words: Size of each vocabulary.
        levels: How many vocabularies.
        quantizer: Builds a vocabulary, ``(dim, words=)``.

    Shape:
        x: (..., dim). Output: ``Quantized`` with codes (..., levels) and the sum of the losses.

    Raises:
        UserError: If there are no levels.

    Source:
        Zeghidour et al. 2021, https://arxiv.org/abs/2107.03312, algorithm 1.
    """

    def __init__(
        self,
        dim: int,
        *,
        words: int,
        levels: int = 2,
        quantizer: Callable[..., VectorQuantizer] = VectorQuantizer,
    ) -> None:
        super().__init__()
        if levels < 1:
            raise UserError(f"levels is {levels}; at least 1 is needed")
        self.layers = nn.ModuleList(quantizer(dim, words=words) for _ in range(levels))

    def codes(self, x: Tensor) -> Tensor:
        """Returns the numbers of the words of each vector, (..., levels)."""
        found = []
        for layer in self._quantizers:
            found.append(layer.codes(x))
            x = x - layer.vectors(found[-1]).to(x.dtype)
        return torch.stack(found, dim=-1)

    def vectors(self, codes: Tensor) -> Tensor:
        """Returns sums of words by their numbers, (..., dim)."""
        words = [layer.vectors(codes[..., n]) for n, layer in enumerate(self._quantizers)]
        return torch.stack(words).sum(dim=0)

    def forward(self, x: Tensor) -> Quantized:
        """Returns the sums of the words, and in training moves them."""
        rest, codes, losses = x, [], []
        for layer in self._quantizers:
            found = layer(rest)
            rest = rest - found.vectors.detach()
            codes.append(found.codes)
            losses.append(found.loss)
        # The gradient of the sum goes to what came in, once.
        return Quantized(x - rest.detach(), torch.stack(codes, dim=-1), torch.stack(losses).sum())

    @property
    def _quantizers(self) -> list[VectorQuantizer]:
        return list(self.layers)  # pyright: ignore[reportReturnType]
