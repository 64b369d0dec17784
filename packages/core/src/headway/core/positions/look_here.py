"""Heads that look in directions."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.positions.base import Position
from headway.core.systems import system

Seen = Callable[[Tensor, Tensor], Tensor]


def _up(rows: Tensor, columns: Tensor) -> Tensor:
    return rows <= 0


def _down(rows: Tensor, columns: Tensor) -> Tensor:
    return rows >= 0


def _left(rows: Tensor, columns: Tensor) -> Tensor:
    return columns <= 0


def _right(rows: Tensor, columns: Tensor) -> Tensor:
    return columns >= 0


def _north(rows: Tensor, columns: Tensor) -> Tensor:
    return columns.abs() <= -rows


def _south(rows: Tensor, columns: Tensor) -> Tensor:
    return columns.abs() <= rows


def _west(rows: Tensor, columns: Tensor) -> Tensor:
    return rows.abs() <= -columns


def _east(rows: Tensor, columns: Tensor) -> Tensor:
    return rows.abs() <= columns


# What four heads see: all of the predicates of a head hold for (row, column) of a key less those of a query.
VIEWS: dict[str, tuple[tuple[Seen, ...], ...]] = {
    "all": ((), (), (), ()),
    "halves": ((_up,), (_down,), (_left,), (_right,)),
    "corners": ((_up, _left), (_up, _right), (_down, _left), (_down, _right)),
    "triangles": ((_north,), (_south,), (_west,), (_east,)),
    "left eighths": ((_north, _left), (_south, _left), (_west, _up), (_east, _up)),
    "right eighths": ((_north, _right), (_south, _right), (_west, _down), (_east, _down)),
}
_HEADS = 4


@system(
    id=180,
    name="LookHere",
    paper="https://arxiv.org/abs/2405.13985",
    claim="heads with fixed fields of view and prices of distance go on at sizes that were never trained",
    test="packages/vision/tests/test_look_here.py",
)
class LookHere(Position):
    """Gives each head a fixed field of view, and lowers a score in proportion to the distance within it.

    Nothing is learned, and nothing depends on the size of a picture. Prefix tokens see all and are seen.

    Args:
        heads: Heads.
        head_dim: Width of a head (not used).
        views: For each four heads what they see, of ``VIEWS``: "halves" (180 degrees), "corners" and
            "triangles" (90), "left eighths" and "right eighths" (45), or "all"; halves, and all for the last
            four of more than four heads, if None.
        slope: Factor of all prices; the authors let it fall from block to block.

    Raises:
        UserError: If a view is not known, or there are too few or too many for the heads.

    Source:
        Fuller et al. 2024, https://arxiv.org/abs/2405.13985, section 3. The default views and their slopes
        are those of the authors' code for 6 and 12 heads with "halves-none".
    """

    def __init__(
        self,
        heads: int,
        head_dim: int,
        *,
        views: Sequence[str] | None = None,
        slope: float = 1.0,
    ) -> None:
        super().__init__()
        groups = -(-heads // _HEADS)
        if views is None:
            views = ["halves"] * max(1, groups - 1) + ["all"] * (groups > 1)
        unknown = [view for view in views if view not in VIEWS]
        if unknown or len(views) != groups:
            raise UserError(
                f"views {list(views)} must name one of {', '.join(VIEWS)} for each {_HEADS} of {heads} "
                f"heads, {groups} in all"
            )
        if slope < 0:
            raise UserError(f"slope {slope} must not be negative: far keys would be preferred")
        self.heads, self.views, self.slope = heads, tuple(views), slope
        self.register_constants()

    slopes: Tensor

    def constants(self) -> dict[str, Tensor]:
        """Returns the price of a step for each head."""
        prices: list[float] = []
        for view, group in groupby(self.views):
            number = len(list(group))
            if view == "all":  # from near to far, each as often as there are groups
                found = [4.0**-place for place in range(1, _HEADS + 1) for _ in range(number)]
            else:
                found = [2.0**-place for place in range(1, number + 1) for _ in range(_HEADS)]
            prices += found
        scaled = self.slope * torch.tensor(prices[: self.heads], dtype=torch.float32)
        return {"slopes": scaled}

    def bias_spec(
        self, query: Tensor, query_positions: Tensor, key_positions: Tensor, *, prefix: int = 0
    ) -> dict[str, Any]:
        """Returns the prices, and minus infinity for what a head does not see."""
        if query_positions.shape[-1] != 2:
            raise UserError(
                f"LookHere is of pictures, got positions with {query_positions.shape[-1]} coordinates"
            )
        difference = key_positions[:, None] - query_positions[:, :, None]
        rows, columns = difference.unbind(-1)
        distance = difference.float().square().sum(-1).sqrt()
        # Groups of four heads often see alike.
        fields = {view: _hidden(view, rows, columns) for view in set(self.views)}
        hidden = torch.cat([fields[view] for view in self.views], dim=1)[:, : self.heads]
        bias = -self.slopes[:, None, None] * distance[:, None]
        bias = bias.masked_fill(hidden, float("-inf"))
        if prefix:
            front = [torch.arange(n, device=bias.device) < prefix for n in bias.shape[2:]]
            bias = bias.masked_fill(front[0][:, None] | front[1], 0.0)
        return {"bias": bias.to(query.dtype)}


def _hidden(view: str, rows: Tensor, columns: Tensor) -> Tensor:
    """Returns what the four heads of a view do not see, (B or 1, 4, T, S)."""
    heads = []
    for sees in VIEWS[view]:
        hidden = torch.zeros_like(rows, dtype=torch.bool)
        for one in sees:
            hidden = hidden | ~one(rows, columns)
        heads.append(hidden)
    return torch.stack(heads, dim=1)
