"""Sinusoidal position embeddings."""

from collections.abc import Sequence

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.module import Module


def sinusoids(positions: Tensor, dim: int, theta: float = 10000.0) -> Tensor:
    """Returns sines (even channels) and cosines (odd channels) of places at geometric wavelengths.

    With several axes each axis has its own share of the channels, in order.

    Shape:
        positions: (..., axes). Output: (..., dim).

    Source:
        Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.5.
    """
    width = dim // positions.shape[-1]
    exponents = torch.arange(0, width, 2, device=positions.device, dtype=torch.float32) / width
    angles = positions.float()[..., None] * theta**-exponents
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-3)


class SinusoidalPosition(Module):
    """Adds sines and cosines of the place; nothing is learned, any grid will do.

    Args:
        dim: Channels.
        grid: (length,) of a sequence or (H, W) of a picture; only the number of axes matters.
        prefix: Leading tokens without a place; they get zeros.
        theta: Base of the wavelengths.
    """

    def __init__(
        self, dim: int, grid: Sequence[int] = (1,), prefix: int = 0, *, theta: float = 10000.0
    ) -> None:
        super().__init__()
        self.axes = len(grid)
        if dim % (2 * self.axes):
            raise UserError(f"dim {dim} must be a multiple of {2 * self.axes} for {self.axes} axes")
        self.dim, self.prefix, self.theta = dim, prefix, theta

    def forward(self, layout: Layout, tokens: int) -> Tensor:
        """Returns the embedding to add to the tokens of a layout.

        Shape:
            Output: (B or 1, tokens, dim).
        """
        positions = layout.token_positions(tokens)
        if positions.shape[-1] != self.axes:
            raise UserError(
                f"SinusoidalPosition for {self.axes} axes got places with {positions.shape[-1]} "
                "coordinates; give grid as many sizes"
            )
        embedding = sinusoids(positions, self.dim, self.theta)
        if layout.prefix:
            places = torch.arange(tokens, device=embedding.device)
            embedding = embedding.masked_fill((places < layout.prefix)[:, None], 0.0)
        return embedding
