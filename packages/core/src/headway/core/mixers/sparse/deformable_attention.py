"""Attention to a few learned positions of several maps."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers.base import TokenMixer, check_heads
from headway.core.mixers.softmax.positioned import placed
from headway.core.ops import deformable_attention
from headway.core.systems import system
from headway.core.taps import tap


@system(
    id=None,
    name="Deformable DETR attention",
    paper="https://arxiv.org/abs/2010.04159",
    claim="a query reads a few positions around its own, which it chooses itself, of maps of several scales",
    test="packages/core/tests/parts/mixers/sparse/test_deformable.py",
)
class DeformableAttention(TokenMixer):
    """Weighted sum of values at a few positions of several maps, chosen and weighted by the query.

    The positions are steps away from the query's own position: ``layout.positions``, rows and columns from 0
    to 1 (no grid beside them), or the centres of the tokens of its grid or levels. A query with a box (row
    and column of its centre, height and width) steps in shares of it instead of tokens. The maps are the
    context, or the tokens themselves without one. Queries read their tokens plus ``layout.embedding``,
    values the tokens alone; there are no keys. Padding of the memory counts as zeros.

    Args:
        dim: Channels of a token.
        heads: Heads.
        levels: Maps of the memory.
        points: Positions per head and map.
        context_dim: Channels of a context token; ``dim`` if None.
        head_dim: Width of a head; ``dim / heads`` if None.
        out_dropout: Probability of dropping an output channel in training.

    Shape:
        x: (B, N, dim). context: (B, M, context_dim). Output: (B, N, dim).

    Raises:
        UserError: If the queries have no positions, or the memory another number of maps than ``levels``.

    Source:
        Zhu et al. 2021 (Deformable DETR), https://arxiv.org/abs/2010.04159, section 4.1.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "valid", "embedding"})

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        levels: int = 4,
        points: int = 4,
        context_dim: int | None = None,
        head_dim: int | None = None,
        out_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.head_dim = check_heads(dim, heads, head_dim)
        self.heads, self.levels, self.points = heads, levels, points
        inner = heads * self.head_dim
        self.offsets = nn.Linear(dim, heads * levels * points * 2)
        self.weights = nn.Linear(dim, heads * levels * points)
        self.v = nn.Linear(context_dim or dim, inner)
        self.projection = nn.Linear(inner, dim)
        self.out_dropout = Dropout(out_dropout)
        self.init_own_()

    def init_own_(self) -> None:
        """Begins as in the paper: all positions weigh the same, and each head looks its own way.

        With each point it looks one step farther.
        """
        for layer in (self.offsets, self.weights):
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.weights.bias)
        ways = directions(self.heads).to(self.offsets.bias.device)
        steps = ways[:, None, None] * torch.arange(1.0, self.points + 1.0).to(ways)[:, None]
        with torch.no_grad():
            self.offsets.bias.copy_(steps.expand(self.heads, self.levels, self.points, 2).flatten())

    def mix(
        self,
        x: Tensor,
        layout: Layout,
        *,
        context: Tensor | None,
        context_layout: Layout | None,
    ) -> Tensor:
        """Reads the positions."""
        memory, maps = (x, layout) if context is None else (context, context_layout or Layout())
        sides = _grids(maps)
        if len(sides) != self.levels or maps.prefix or maps.offsets is not None:
            raise UserError(
                f"DeformableAttention(levels={self.levels}) needs a memory of {self.levels} maps and "
                f"nothing else, got maps {sides} and prefix {maps.prefix}; say levels= in its Layout"
            )
        value = self.v(memory)
        real = maps.token_mask(memory.shape[1])
        if real is not None:
            value = value.masked_fill(~real[..., None], 0.0)
        query = placed(x, layout)
        shape = (self.heads, self.levels, self.points)
        weights = self.weights(query).unflatten(2, (self.heads, -1)).softmax(dim=-1)
        weights = weights.unflatten(3, shape[1:]).to(value.dtype)
        tap(self, "weights", weights)
        # Positions in float32: half precision tells apart fewer of them than a map has tokens.
        steps = self.offsets(query).float().unflatten(2, (*shape, 2))
        at = _positions(layout, x.device)[:, :, None, None, None]
        if at.shape[-1] == 4:
            # As far as half the box with the last point, at first.
            steps = steps / self.points * at[..., 2:] * 0.5
        else:
            sizes = [side[::-1] for side in sides]
            steps = steps / torch.tensor(sizes, dtype=torch.float32, device=x.device)[:, None]
        locations = at[..., :2] + steps
        tap(self, "locations", locations)
        out = self.read(value.unflatten(2, (self.heads, -1)), locations, weights, sides)
        return self.out_dropout(self.projection(out.to(value.dtype)))

    def read(
        self, value: Tensor, locations: Tensor, weights: Tensor, levels: tuple[tuple[int, ...], ...]
    ) -> Tensor:
        """Returns the weighted sums of values between tokens.

        Args:
            value: Values of the tokens of all maps, (B, M, heads, D).
            locations: Where it reads, (x, y) from 0 to 1, (B, N, heads, levels, points, 2).
            weights: By how much each point counts, (B, N, heads, levels, points).
            levels: Rows and columns of each map.
        """
        dtype = torch.promote_types(value.dtype, locations.dtype)
        value, locations, weights = (x.to(dtype) for x in (value, locations, weights))
        return deformable_attention(value, locations, weights, levels=levels)


def directions(heads: int) -> Tensor:
    """Returns the way that each head looks at first, the farther of x and y one step, (heads, 2)."""
    angles = torch.arange(heads) * (2.0 * math.pi / heads)
    ways = torch.stack([angles.cos(), angles.sin()], dim=-1)
    return ways / ways.abs().amax(dim=-1, keepdim=True)


def _grids(layout: Layout) -> tuple[tuple[int, ...], ...]:
    return layout.levels or ((layout.grid,) if layout.grid is not None else ())


def _positions(layout: Layout, device: torch.device) -> Tensor:
    """Where the queries are, (x, y) or (x, y, width, height) from 0 to 1; (B or 1, N, 2 or 4)."""
    grids = _grids(layout)
    if (layout.positions is None) != bool(grids) or any(len(grid) != 2 for grid in grids):
        raise UserError(
            "DeformableAttention needs the positions of its queries: positions (B or 1, N, 2 or 4) from 0 to "
            "1 or a grid (or levels) of rows and columns in their Layout, not both"
        )
    if layout.positions is not None:
        return layout.positions.float().unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    parts = []
    for grid in grids:
        positions = Layout(grid=grid).token_positions(grid[0] * grid[1], device)
        parts.append((positions + 0.5) / torch.tensor(grid, device=device))
    return torch.cat(parts, dim=1).flip(-1)
