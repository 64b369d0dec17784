"""Which keys are the neighbours of a query, and which entry of the bias table each of them reads."""

import torch
from torch import Tensor

Pair = tuple[int, int]


def sizes(grid: Pair, window: Pair) -> Pair:
    """The window, no larger than the grid."""
    return min(grid[0], window[0]), min(grid[1], window[1])


def first(positions: Tensor, count: Tensor | int, size: int) -> Tensor:
    """The first neighbour along one axis: the window around a position, moved back into the grid.

    Args:
        positions: Positions of queries.
        count: How many positions the axis has.
        size: How many of them the window holds.
    """
    last = torch.as_tensor(count, device=positions.device) - size
    return torch.minimum(positions - size // 2, last).clamp_min(0)


def neighbours(
    grid: Pair, window: Pair, lengths: Tensor | None, device: torch.device
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The neighbours of every position of a grid.

    Args:
        grid: Rows and columns; one row for a sequence.
        window: Rows and columns of the neighbourhood.
        lengths: Positions of each item that exist, for sequences.
        device: Where the results shall be.

    Returns:
        Numbers of the neighbouring positions, entries of the bias table, and (with lengths) which
        neighbours exist.

    Shape:
        (B or 1, N, K), (B or 1, N, K), (B, N, K) with N positions and K positions in a window.
    """
    rows, columns = grid
    high, wide = sizes(grid, window)
    row = torch.arange(rows, device=device)[:, None]
    column = torch.arange(columns, device=device)[:, None]
    counts = columns if lengths is None else lengths[:, None, None]
    near_rows = first(row, rows, high) + torch.arange(high, device=device)
    near_columns = first(column[None], counts, wide) + torch.arange(wide, device=device)
    exist = (near_columns < counts) & (column < counts)
    # What does not exist reads some position and some entry; it is hidden afterwards.
    near_columns = torch.where(exist, near_columns, column)
    row_steps = row - near_rows + window[0] - 1
    column_steps = column - near_columns + window[1] - 1
    positions = near_rows[None, :, None, :, None] * columns + near_columns[:, None, :, None, :]
    entries = (
        row_steps[None, :, None, :, None] * (2 * window[1] - 1) + column_steps[:, None, :, None, :]
    )
    shape = (-1, rows * columns, high * wide)
    real = None
    if lengths is not None:
        real = exist[:, None, :, None].expand(-1, rows, -1, high, -1).reshape(shape)
    return positions.reshape(shape), entries.reshape(shape), real


def flat(x: Tensor) -> Tensor:
    """Joins the two axes of a grid.

    A first axis of one position is left out by itself: joined, a tracer would divide one by the other axis.

    Shape:
        x: (B, H, Y, X, ...). Output: (B, H, Y X, ...).
    """
    return x.squeeze(2) if isinstance(x.shape[2], int) and x.shape[2] == 1 else x.flatten(2, 3)
