"""The gradient of the bias table, without atomics.

An entry is read by all pairs of positions that lie equally far apart, so a program owns all entries of one
head with one step between rows. It visits rows of queries in a fixed order, each with the row of keys
that lies this step away, and adds up the diagonals of the tiles of scores: one diagonal per entry.
"""

import triton
import triton.language as tl

from headway.core.ops.kernels.rows import LOG2E
from headway.core.ops.neighbourhood.triton.backward import load_statistics
from headway.core.ops.neighbourhood.triton.tile import (
    column_count,
    first_neighbour,
    load_dense,
    load_positions,
    scores_of,
)


@triton.jit
def table_kernel(
    query,
    key,
    value,
    table,
    lengths,
    grad_out,
    lse,
    delta,
    partial,
    scale,
    grid,
    visits,
    D: tl.constexpr,
    WINDOW_Y: tl.constexpr,
    WINDOW_X: tl.constexpr,
    TABLE_Y: tl.constexpr,
    TABLE_X: tl.constexpr,
    BLOCK_ENTRIES: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One program per head, step between rows and share of the rows of all items.

    `partial` is (shares, H, 2 TABLE_Y - 1, 2 TABLE_X - 1); `visits` is how many rows a share holds.
    """
    heads, Y, X = grid.H, grid.Y, grid.X
    steps: tl.constexpr = 2 * TABLE_Y - 1
    program = tl.program_id(0)
    step = program % steps
    head = ((program // steps) % heads).to(tl.int64)
    share = program // (steps * heads)
    entries = tl.arange(0, BLOCK_ENTRIES)
    sums = tl.zeros((BLOCK_ENTRIES,), tl.float32)
    for visit in range(share * visits, tl.minimum((share + 1) * visits, grid.B * Y)):
        batch, query_y = (visit // Y).to(tl.int64), visit % Y
        key_y = query_y - (step - TABLE_Y + 1)
        y0 = first_neighbour(query_y, Y, WINDOW_Y)
        count = column_count(lengths, batch, X)
        # Rows that are no neighbours have no columns to visit.
        near = (key_y >= y0) & (key_y < y0 + WINDOW_Y)
        line = (batch * heads + head) * Y * X
        for start_x in range(0, tl.where(near, count, 0), BLOCK_T):
            x = start_x + tl.arange(0, BLOCK_T)
            y = tl.full((BLOCK_T,), query_y, tl.int32)
            inside = x < count
            query_block = load_positions(query, batch, head, y, x, inside, D)
            grad_block = load_dense(grad_out + line * D, y, x, inside, X, D)
            sums_t, deltas = load_statistics(lse + line, delta + line, y, x, inside, X)
            last_x = tl.minimum(start_x + BLOCK_T, count) - 1
            from_x = first_neighbour(start_x, count, WINDOW_X)
            to_x = tl.minimum(first_neighbour(last_x, count, WINDOW_X) + WINDOW_X, count)
            for start_s in range(from_x, to_x, BLOCK_S):
                key_x = start_s + tl.arange(0, BLOCK_S)
                key_rows = tl.full((BLOCK_S,), key_y, tl.int32)
                there = key_x < count
                key_block = load_positions(key, batch, head, key_rows, key_x, there, D)
                scores = scores_of(
                    tl.dot(query_block, tl.trans(key_block), input_precision=PRECISION),
                    table,
                    head,
                    heads,
                    y[:, None],
                    x[:, None],
                    key_rows[None, :],
                    key_x[None, :],
                    there[None, :],
                    Y,
                    count,
                    scale * LOG2E,
                    WINDOW_Y,
                    WINDOW_X,
                    TABLE_Y,
                    TABLE_X,
                )
                weights = tl.exp2(scores - sums_t[:, None])
                value_block = load_positions(value, batch, head, key_rows, key_x, there, D)
                grad_weights = tl.dot(grad_block, tl.trans(value_block), input_precision=PRECISION)
                grad_scores = weights * (grad_weights - deltas[:, None])
                entry = x[:, None] - key_x[None, :] + TABLE_X - 1
                for number in range(2 * TABLE_X - 1):
                    found = tl.sum(
                        tl.sum(tl.where(entry == number, grad_scores, 0.0), axis=1), axis=0
                    )
                    sums += tl.where(entries == number, found, 0.0)
    row = (share * heads + head) * steps + step
    tl.store(partial + row * (2 * TABLE_X - 1) + entries, sums, mask=entries < 2 * TABLE_X - 1)
