"""Where the tokens of a map are when it is cut into windows, shifted or not."""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from headway.core.private_torch import has_dispatch_mode

Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Plan:
    """A map cut into windows.

    Args:
        window: Height and width of a window; where one covers an axis, that of the map.
        tokens: How many tokens the map has.
        has_padding: Whether the windows hold places without a token.
        places: For each window and place in it the number of a token, or -1 where there is none.
        regions: What of a window lay together before the shift; None if nothing is shifted.

    Shape:
        places (windows, S) and regions (windows, S).
    """

    window: Pair
    tokens: int
    has_padding: bool
    places: Tensor
    regions: Tensor | None


def plan_for(grid: Pair, window: Pair, shift: Pair, pad_first: bool, device: torch.device) -> Plan:
    """Cuts a map into windows.

    Along an axis on which one window covers the map, the window shrinks to it and nothing is shifted.

    Args:
        grid: Rows and columns of tokens.
        window: Height and width of a window.
        shift: Rows and columns by which the windows are moved.
        pad_first: Whether the map is filled up before it is shifted, or after.
        device: Where the numbers of the tokens are needed.
    """
    # What is traced are no real tensors; they must not outlive the trace.
    if torch.compiler.is_compiling() or has_dispatch_mode():
        return _make(grid, window, shift, pad_first, device)
    return _kept(grid, window, shift, pad_first, device)


def _make(grid: Pair, window: Pair, shift: Pair, pad_first: bool, device: torch.device) -> Plan:
    axes = [
        _axis(size, side, step, pad_first, device)
        for size, side, step in zip(grid, window, shift, strict=True)
    ]
    (rows, row_regions), (columns, column_regions) = axes
    sides = (min(window[0], grid[0]), min(window[1], grid[1]))
    there = (rows[:, None] >= 0) & (columns >= 0)
    places = _cut(torch.where(there, rows[:, None] * grid[1] + columns, -1), sides)
    tokens = grid[0] * grid[1]
    regions = None
    if any(step and size > side for size, side, step in zip(grid, window, shift, strict=True)):
        regions = _cut(row_regions[:, None] * 3 + column_regions, sides).to(torch.int32)
    return Plan(sides, tokens, places.numel() > tokens, places, regions)


_kept = functools.lru_cache(maxsize=128)(_make)


def _axis(
    size: int, side: int, step: int, pad_first: bool, device: torch.device
) -> tuple[Tensor, Tensor]:
    """For each place of an axis the token that stands there, and the region it comes from."""
    side, step = min(side, size), step if size > side else 0
    filled = -(-size // side) * side
    places = torch.arange(filled, device=device)
    if pad_first:
        origin = (places + step) % filled
        origin = torch.where(origin < size, origin, -1)
    else:
        origin = torch.where(places < size, (places + step) % size, -1)
    if not step:
        return origin, torch.zeros_like(places)
    # The last window of a shifted axis holds what was at the end, then what was at the beginning.
    return origin, (places >= filled - side).long() + (places >= filled - step).long()


def _cut(places: Tensor, sides: Pair) -> Tensor:
    cells = places.unflatten(1, (-1, sides[1])).unflatten(0, (-1, sides[0]))
    return cells.transpose(1, 2).flatten(2).flatten(0, 1).contiguous()
