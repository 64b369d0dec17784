"""Positions between tokens, and the four tokens around each."""

import triton
import triton.language as tl


@triton.jit
def load_level(levels, level):
    """Rows, columns and first token of a map."""
    entry = levels + 3 * level
    return tl.load(entry), tl.load(entry + 1), tl.load(entry + 2)


@triton.jit
def load_positions(locations, numbers, there, rows, columns):
    """Positions counted in tokens: column and row of the token before each, and the way from there to it."""
    x = tl.load(locations + 2 * numbers, mask=there, other=0.0).to(tl.float32)
    y = tl.load(locations + 2 * numbers + 1, mask=there, other=0.0).to(tl.float32)
    x = x * columns.to(tl.float32) - 0.5
    y = y * rows.to(tl.float32) - 0.5
    left, upper = tl.floor(x), tl.floor(y)
    return left, upper, x - left, y - upper


@triton.jit
def corner_tokens(left, upper, rows, columns, RIGHT: tl.constexpr, DOWN: tl.constexpr):
    """Numbers within the map of the tokens in one corner of the positions; `rows * columns` outside of it."""
    column, row = left + RIGHT, upper + DOWN
    # Compared before they become integers: what is far outside, infinite or no number has none.
    inside = (column >= 0.0) & (column < columns) & (row >= 0.0) & (row < rows)
    column, row = tl.where(inside, column, 0.0), tl.where(inside, row, 0.0)
    token = row.to(tl.int32) * columns + column.to(tl.int32)
    return tl.where(inside, token, rows * columns)


@triton.jit
def share(way, FAR: tl.constexpr):
    """How much the nearer or the farther end of a step counts, part of the way along it."""
    if FAR:
        part = way
    else:
        part = 1.0 - way
    return part
