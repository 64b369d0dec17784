"""A tile of a grid as a list of positions, and which pairs of positions are neighbours."""

import triton
import triton.language as tl

from headway.core.ops.kernels.rows import LOG2E, head_of


@triton.jit
def tile_positions(y0, x0, Y, X, TILE_Y: tl.constexpr, TILE_X: tl.constexpr):
    """Rows and columns of the positions of a tile, and which of them lie on the grid."""
    positions = tl.arange(0, TILE_Y * TILE_X)
    y = y0 + positions // TILE_X
    x = x0 + positions % TILE_X
    return y, x, (y < Y) & (x < X)


@triton.jit
def load_positions(positions, batch, head, y, x, inside, D: tl.constexpr):
    """The features of positions of an item and head; zeros where there is no position."""
    rows = head_of(positions, batch, head) + y * positions.stride_y + x * positions.stride_x
    return tl.load(rows[:, None] + tl.arange(0, D)[None, :], mask=inside[:, None], other=0.0)


@triton.jit
def store_positions(start, y, x, inside, X, values, D: tl.constexpr):
    """Writes the features of positions of one item and head, densely."""
    rows = start + (y * X + x) * D
    pointers = rows[:, None] + tl.arange(0, D)[None, :]
    tl.store(pointers, values.to(start.dtype.element_ty), mask=inside[:, None])


@triton.jit
def load_dense(start, y, x, inside, X, D: tl.constexpr):
    """The counterpart of `store_positions`."""
    rows = start + (y * X + x) * D
    return tl.load(rows[:, None] + tl.arange(0, D)[None, :], mask=inside[:, None], other=0.0)


@triton.jit
def first_neighbour(position, count, SIZE: tl.constexpr):
    """The first position of the window around a position, moved back into 0..count."""
    return tl.maximum(tl.minimum(position - SIZE // 2, count - SIZE), 0)


@triton.jit
def first_visitor(position, count, SIZE: tl.constexpr):
    """The first position whose window holds a position."""
    return tl.where(position < SIZE, 0, position - SIZE + 1 + SIZE // 2)


@triton.jit
def last_visitor(position, count, SIZE: tl.constexpr):
    """The last position whose window holds a position."""
    return tl.where(position >= count - SIZE, count - 1, position + SIZE // 2)


@triton.jit
def column_count(lengths, batch, X):
    """How many columns exist for an item, within 0..X."""
    count = X
    if lengths is not None:
        count = tl.minimum(tl.maximum(tl.load(lengths + batch).to(tl.int32), 0), X)
    return count


@triton.jit
def scores_of(
    products,
    table,
    head,
    heads,
    query_y,
    query_x,
    key_y,
    key_x,
    key_inside,
    Y,
    count,
    scale_log2,
    WINDOW_Y: tl.constexpr,
    WINDOW_X: tl.constexpr,
    TABLE_Y: tl.constexpr,
    TABLE_X: tl.constexpr,
):
    """Scores in units of log 2; minus infinity where two positions are no neighbours.

    Positions of queries and keys broadcast to the products, in either orientation.
    """
    y0 = first_neighbour(query_y, Y, WINDOW_Y)
    x0 = first_neighbour(query_x, count, WINDOW_X)
    near = (key_y >= y0) & (key_y < y0 + WINDOW_Y) & (key_x >= x0) & (key_x < x0 + WINDOW_X)
    near = near & key_inside & (query_y < Y) & (query_x < count)
    scores = products * scale_log2
    if table is not None:
        step_y = query_y - key_y + TABLE_Y - 1
        step_x = query_x - key_x + TABLE_X - 1
        entry = table + (step_y * (2 * TABLE_X - 1) + step_x) * heads + head
        scores += tl.load(entry, mask=near, other=0.0).to(tl.float32) * LOG2E
    return tl.where(near, scores, float("-inf"))
