"""Learned vectors for relative positions, added to keys and to values."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.init import truncated_normal_
from headway.core.positions.base import Position
from headway.core.systems import system


@system(
    id=149,
    name="Shaw RPE",
    paper="https://arxiv.org/abs/1803.02155",
    claim="keys and values depend on how far a token is from the query, up to a reach",
    test="packages/core/tests/parts/test_relative_vectors.py",
)
class RelativeVectors(Position):
    """Adds a learned vector to each key and to each value that depends on the position seen from the query.

    All heads share the vectors, as in the paper. Since values differ from query to query, attention needs its
    weights as a tensor: memory grows with the square of the tokens. Prefix tokens get and give nothing.

    Args:
        heads: Heads (not used).
        head_dim: Width of a head.
        reach: Positions to either side that have vectors of their own, or ``(before, behind)``; those beyond
            use the last.
        values: Whether values get vectors, too; published translation models go without (section 4.3).

    Raises:
        UserError: If ``reach`` is negative.

    Source:
        Shaw et al. 2018, https://arxiv.org/abs/1803.02155, eq. 3 and 4.
    """

    undecayed: ClassVar[tuple[str, ...]] = ("key_table", "value_table")

    def __init__(
        self, heads: int, head_dim: int, *, reach: int | tuple[int, int] = 16, values: bool = True
    ) -> None:
        super().__init__()
        before, behind = (reach, reach) if isinstance(reach, int) else reach
        if min(before, behind) < 0:
            raise UserError(f"reach is {reach}; it is a number of positions, 0 or more")
        self.before, self.behind = before, behind
        self.head_dim, self.adds_values = head_dim, values

        def table() -> nn.Parameter:
            return nn.Parameter(truncated_normal_(torch.empty(before + behind + 1, head_dim)))

        self.key_table = table()
        self.value_table = table() if values else None

    def index(
        self, query_positions: Tensor, key_positions: Tensor, prefix: int
    ) -> tuple[Tensor, Tensor | None]:
        """Returns the row of the tables for each pair, (B or 1, 1, T, S), and which pairs have one."""
        if query_positions.shape[-1] != 1:
            raise UserError(
                f"RelativeVectors is for sequences, got positions with {query_positions.shape[-1]} "
                "coordinates; use RelativeBias or Rotary on grids"
            )
        difference = key_positions[:, None, :, 0] - query_positions[:, :, None, 0]
        rows = difference.round().long().clamp(-self.before, self.behind) + self.before
        if not prefix:
            return rows[:, None], None
        queries, keys = (torch.arange(n, device=rows.device) >= prefix for n in rows.shape[1:])
        return rows[:, None], queries[:, None] & keys

    def bias_spec(
        self, query: Tensor, query_positions: Tensor, key_positions: Tensor, *, prefix: int = 0
    ) -> dict[str, Any]:
        """Returns the product of each query with the vector of each key, scaled as the scores are."""
        index, placed = self.index(query_positions, key_positions, prefix)
        products = query @ self.key_table.to(query.dtype).T * self.head_dim**-0.5
        bias = products.gather(-1, index.expand(*products.shape[:3], -1))
        return {"bias": bias if placed is None else bias.masked_fill(~placed, 0.0)}

    def values(
        self, weights: Tensor, query_positions: Tensor, key_positions: Tensor, *, prefix: int = 0
    ) -> Tensor:
        """Returns the sum of the vectors, each with the weight of its key."""
        assert self.value_table is not None
        index, placed = self.index(query_positions, key_positions, prefix)
        if placed is not None:
            weights = weights.masked_fill(~placed, 0.0)
        # First how much of the weight each row has: there are fewer rows than keys.
        of_rows = weights.new_zeros(*weights.shape[:3], len(self.value_table))
        of_rows = of_rows.scatter_add(-1, index.expand_as(weights), weights)
        return of_rows @ self.value_table.to(weights.dtype)
