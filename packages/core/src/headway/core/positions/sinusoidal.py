"""Sinusoidal position embeddings."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.module import Module


def sinusoids(
    positions: Tensor, dim: int, theta: float = 10000.0, *, interleaved: bool = True
) -> Tensor:
    """Returns sines (even channels) and cosines (odd channels) of positions at geometric wavelengths.

    With several axes each axis has its own share of the channels, in order. Where they are not interleaved
    all sines of an axis stand in front of its cosines.

    Shape:
        positions: (..., axes). Output: (..., dim).

    Source:
        Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.5.
    """
    width = dim // positions.shape[-1]
    exponents = torch.arange(0, width, 2, device=positions.device, dtype=torch.float32) / width
    angles = positions.float()[..., None] * theta**-exponents
    waves = torch.stack([angles.sin(), angles.cos()], dim=-1 if interleaved else -2)
    return waves.flatten(-3)


class SinusoidalPosition(Module):
    """Adds sines and cosines of the position; nothing is learned, any grid will do.

    Args:
        dim: Channels.
        grid: (length,) of a sequence or (H, W) of a picture; only the number of axes matters.
        prefix: Leading tokens without a position; they get zeros.
        theta: Base of the wavelengths.
        interleaved: Whether sines and cosines take turns; the sines of an axis come first otherwise.
    """

    def __init__(
        self,
        dim: int,
        grid: Sequence[int] = (1,),
        prefix: int = 0,
        *,
        theta: float = 10000.0,
        interleaved: bool = True,
    ) -> None:
        super().__init__()
        self.axes = len(grid)
        if dim % (2 * self.axes):
            raise UserError(f"dim {dim} must be a multiple of {2 * self.axes} for {self.axes} axes")
        self.dim, self.prefix, self.theta, self.interleaved = dim, prefix, theta, interleaved

    def forward(self, layout: Layout, tokens: int) -> Tensor:
        """Returns the embedding to add to the tokens of a layout.

        Shape:
            Output: (B or 1, tokens, dim).
        """
        positions = layout.token_positions(tokens)
        if positions.shape[-1] != self.axes:
            raise UserError(
                f"SinusoidalPosition for {self.axes} axes got positions with {positions.shape[-1]} "
                "coordinates; give grid as many sizes"
            )
        embedding = sinusoids(positions, self.dim, self.theta, interleaved=self.interleaved)
        if layout.prefix:
            index = torch.arange(tokens, device=embedding.device)
            embedding = embedding.masked_fill((index < layout.prefix)[:, None], 0.0)
        return embedding


class NormalizedSinusoidalPosition(Module):
    """Sines and cosines of where a token sits between the borders of its picture, 0 to ``scale``.

    Rows and columns are counted over real tokens alone, so a padded picture has the positions that it
    has alone.

    Args:
        dim: Channels.
        grid: Only the number of axes matters, and it is 2.
        prefix: Leading tokens; there must be none.
        theta: Base of the wavelengths.
        scale: What the last row and column are mapped to.
        centred: Whether a row counts from its middle, half a row before its end (Deformable DETR).

    Source:
        Carion et al. 2020 (DETR), https://arxiv.org/abs/2005.12872, appendix A.4, and its code.
    """

    def __init__(
        self,
        dim: int,
        grid: Sequence[int] = (1, 1),
        prefix: int = 0,
        *,
        theta: float = 10000.0,
        scale: float = 2 * math.pi,
        centred: bool = False,
    ) -> None:
        super().__init__()
        if len(grid) != 2 or prefix:
            raise UserError("NormalizedSinusoidalPosition is for pictures without prefix tokens")
        if dim % 4:
            raise UserError(f"dim {dim} must be a multiple of 4 for 2 axes")
        self.dim, self.theta, self.scale = dim, theta, scale
        self.before = 0.5 if centred else 0.0

    def forward(self, layout: Layout, tokens: int) -> Tensor:
        """Returns the embedding of the tokens of a layout with a grid.

        Shape:
            Output: (B or 1, tokens, dim).
        """
        if layout.grid is None or len(layout.grid) != 2 or layout.prefix:
            raise UserError("NormalizedSinusoidalPosition needs a layout with a grid (H, W)")
        mask = layout.token_mask(tokens)
        real = torch.ones(1, tokens) if mask is None else mask.float()
        real = real.unflatten(1, layout.grid)
        rows, columns = real.cumsum(1), real.cumsum(2)
        # Padding in full rows or columns has no last position: it stays finite, and nobody reads it.
        rows = (rows - self.before) / (rows[:, -1:] + 1e-6) * self.scale
        columns = (columns - self.before) / (columns[:, :, -1:] + 1e-6) * self.scale
        return sinusoids(torch.stack([rows, columns], dim=-1).flatten(1, 2), self.dim, self.theta)
