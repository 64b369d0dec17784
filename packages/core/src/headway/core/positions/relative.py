"""A learned bias for every relative position."""

from abc import abstractmethod
from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.init import truncated_normal_
from headway.core.positions.base import Position


class TableBias(Position):
    """Adds a learned number to each score, of a table with a row for each relation of positions.

    A subclass makes ``table``, or says how its ``rows`` follow, and which row it is. Prefix tokens get no
    bias.
    """

    undecayed: ClassVar[tuple[str, ...]] = ("table",)
    table: nn.Parameter

    def rows(self) -> Tensor:
        """Returns the table, (rows, heads)."""
        return self.table

    @abstractmethod
    def index(self, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        """Returns the row of the table for each pair of positions, (B or 1, T, S)."""

    def bias_spec(
        self, query: Tensor, query_positions: Tensor, key_positions: Tensor, *, prefix: int = 0
    ) -> dict[str, Any]:
        """Returns the table and the row of it for each pair; prefix tokens share a row of zeros."""
        index = self.index(query_positions, key_positions)
        table = self.rows()
        if prefix:
            queries, keys = (torch.arange(n, device=index.device) < prefix for n in index.shape[1:])
            index = index.masked_fill(queries[:, None] | keys, len(table))
            table = torch.cat([table, table.new_zeros(1, table.shape[1])])
        return {"table": table.to(query.dtype), "index": index[0] if len(index) == 1 else index}


class GridBias(TableBias):
    """A table with a row for each difference of positions on a grid.

    Larger differences use the row at the border.

    Args:
        grid: Largest grid without clamping: (length,) of a sequence, (H, W) of a picture.
    """

    def __init__(self, grid: Sequence[int]) -> None:
        super().__init__()
        if not grid or min(grid) < 1:
            raise UserError(f"grid needs positive sizes, got {tuple(grid)}")
        self.grid = tuple(grid)

    def index(self, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        """Returns the row of the table for each pair of positions, (B or 1, T, S)."""
        if query_positions.shape[-1] != len(self.grid):
            raise UserError(
                f"{type(self).__name__}(grid={self.grid}) got positions with {query_positions.shape[-1]} "
                "coordinates; give the grid as many sizes"
            )
        difference = (query_positions[:, :, None] - key_positions[:, None]).round().long()
        index = torch.zeros_like(difference[..., 0])
        for axis, size in enumerate(self.grid):
            step = difference[..., axis].clamp(1 - size, size - 1) + size - 1
            index = index * (2 * size - 1) + step
        return index


class RelativeBias(GridBias):
    """Adds a learned number to each score that depends on the head and on the relative position.

    The table has one row for each difference of positions on a grid; larger differences use the row at
    the border. Prefix tokens get no bias.

    Args:
        heads: Heads.
        head_dim: Width of a head (not used).
        grid: Largest grid without clamping: (length,) of a sequence, (H, W) of a picture.

    Source:
        Liu et al. 2021 (Swin), https://arxiv.org/abs/2103.14030, eq. 4.
    """

    def __init__(self, heads: int, head_dim: int, *, grid: Sequence[int]) -> None:
        super().__init__(grid)
        rows = prod([2 * size - 1 for size in self.grid])
        self.table = nn.Parameter(truncated_normal_(torch.empty(rows, heads)))
