"""Learned position embeddings."""

from collections.abc import Sequence
from math import prod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.init import truncated_normal_
from headway.core.layout import Layout
from headway.core.module import Module


def resize_table(
    table: Tensor, old: Sequence[int], new: Sequence[int], *, antialias: bool = True
) -> Tensor:
    """Resizes a table of embeddings on a grid (bicubic for pictures, linear for sequences).

    Args:
        table: Embeddings without prefix, last axis of the grid fastest.
        old: Grid of ``table``.
        new: Grid that is wanted.
        antialias: Whether a picture's table is smoothed before it shrinks.

    Shape:
        table: (1, prod(old), C). Output: (1, prod(new), C).
    """
    if tuple(old) == tuple(new):
        return table
    grid = table.float().movedim(-1, 1).unflatten(-1, tuple(old))
    if len(old) == 2:
        grid = F.interpolate(
            grid, size=list(new), mode="bicubic", antialias=antialias, align_corners=False
        )
    else:
        mode = {1: "linear", 3: "trilinear"}[len(old)]
        grid = F.interpolate(grid, size=list(new), mode=mode, align_corners=False)
    return grid.flatten(2).movedim(1, -1).to(table.dtype)


class LearnedPosition(Module):
    """One learned vector for each position of a grid, resized when the grid is another one.

    Args:
        dim: Channels.
        grid: (length,) of a sequence or (H, W) of a picture.
        prefix: Leading tokens that have a vector of their own in the table.
        antialias: Whether a picture's table is smoothed before it shrinks, as timm does it; transformers
            does not.

    Source:
        Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929, eq. 1.
    """

    undecayed: ClassVar[tuple[str, ...]] = ("table",)

    def __init__(
        self, dim: int, grid: Sequence[int], prefix: int = 0, *, antialias: bool = True
    ) -> None:
        super().__init__()
        if not grid or min(grid) < 1:
            raise UserError(f"grid needs positive sizes, got {tuple(grid)}")
        self.grid = tuple(grid)
        self.prefix = prefix
        self.antialias = antialias
        self.table = nn.Parameter(truncated_normal_(torch.empty(1, prefix + prod(grid), dim)))

    def at(self, grid: Sequence[int]) -> Tensor:
        """Returns the table for another grid, prefix in front, (1, prefix + prod(grid), C)."""
        if tuple(grid) == self.grid:
            return self.table
        prefix, table = self.table[:, : self.prefix], self.table[:, self.prefix :]
        return torch.cat(
            [prefix, resize_table(table, self.grid, grid, antialias=self.antialias)], dim=1
        )

    def resize(self, grid: Sequence[int]) -> None:
        """Makes another grid the table's own, by interpolation."""
        with torch.no_grad():
            self.table = nn.Parameter(self.at(grid).clone())
        self.grid = tuple(grid)

    def forward(self, layout: Layout, tokens: int) -> Tensor:
        """Returns the embedding to add to the tokens of a layout.

        Shape:
            Output: (1, tokens, dim).
        """
        grid = layout.grid if layout.grid is not None else (tokens - layout.prefix,)
        if len(grid) != len(self.grid):
            raise UserError(f"LearnedPosition(grid={self.grid}) got tokens on a grid {grid}")
        return self.at(grid)[:, self.prefix - layout.prefix :]
