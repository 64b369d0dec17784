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
        has_padding: Whether the windows hold positions without a token.
        positions: For each window and position in it the number of a token, or -1 where there is none.
        regions: What of a window lay together before the shift; None if nothing is shifted.

    Shape:
        positions (windows, S) and regions (windows, S).
    """

    window: Pair
    tokens: int
    has_padding: bool
    positions: Tensor
    regions: Tensor | None


def plan_for(
    grid: Pair,
    window: Pair,
    shift: Pair,
    pad_first: bool,
    device: torch.device,
    *,
    shrink: bool = True,
) -> Plan:
    """Cuts a map into windows.

    Args:
        grid: Rows and columns of tokens.
        window: Height and width of a window.
        shift: Rows and columns by which the windows are moved.
        pad_first: Whether the map is filled up before it is shifted, or after.
        device: Where the numbers of the tokens are needed.
        shrink: Whether along an axis on which one window covers the map, the window shrinks to it and nothing
            is shifted; the map is filled up to the window otherwise.
    """
    # What is traced are no real tensors; they must not outlive the trace.
    if torch.compiler.is_compiling() or has_dispatch_mode():
        return _make(grid, window, shift, pad_first, device, shrink)
    return _kept(grid, window, shift, pad_first, device, shrink)


def _make(
    grid: Pair, window: Pair, shift: Pair, pad_first: bool, device: torch.device, shrink: bool
) -> Plan:
    if shrink:
        shift = (
            shift[0] if grid[0] > window[0] else 0,
            shift[1] if grid[1] > window[1] else 0,
        )
        window = (min(window[0], grid[0]), min(window[1], grid[1]))
    axes = [
        _axis(size, side, step, pad_first, device)
        for size, side, step in zip(grid, window, shift, strict=True)
    ]
    (rows, row_regions), (columns, column_regions) = axes
    there = (rows[:, None] >= 0) & (columns >= 0)
    positions = _cut(torch.where(there, rows[:, None] * grid[1] + columns, -1), window)
    tokens = grid[0] * grid[1]
    regions = None
    if any(shift):
        regions = _cut(row_regions[:, None] * 3 + column_regions, window).to(torch.int32)
    return Plan(window, tokens, positions.numel() > tokens, positions, regions)


_kept = functools.lru_cache(maxsize=128)(_make)


def _axis(
    size: int, side: int, step: int, pad_first: bool, device: torch.device
) -> tuple[Tensor, Tensor]:
    """For each position of an axis the token that stands there, and the region it comes from."""
    filled = -(-size // side) * side
    positions = torch.arange(filled, device=device)
    if pad_first:
        origin = (positions + step) % filled
        origin = torch.where(origin < size, origin, -1)
    else:
        origin = torch.where(positions < size, (positions + step) % size, -1)
    if not step:
        return origin, torch.zeros_like(positions)
    # The last window of a shifted axis holds what was at the end, then what was at the beginning.
    return origin, (positions >= filled - side).long() + (positions >= filled - step).long()


def _cut(positions: Tensor, sides: Pair) -> Tensor:
    cells = positions.unflatten(1, (-1, sides[1])).unflatten(0, (-1, sides[0]))
    return cells.transpose(1, 2).flatten(2).flatten(0, 1).contiguous()
