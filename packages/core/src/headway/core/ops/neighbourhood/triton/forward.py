"""The forward kernel: online softmax over the tiles of keys that a tile of queries can see."""

import triton
import triton.language as tl

from headway.core.ops.kernels.rows import LOG2E
from headway.core.ops.neighbourhood.triton.tile import (
    column_count,
    first_neighbour,
    load_positions,
    scores_of,
    store_positions,
    tile_positions,
)


@triton.jit
def forward_kernel(
    query,
    key,
    value,
    table,
    lengths,
    out,
    lse,
    scale,
    grid,
    D: tl.constexpr,
    WINDOW_Y: tl.constexpr,
    WINDOW_X: tl.constexpr,
    TABLE_Y: tl.constexpr,
    TABLE_X: tl.constexpr,
    QUERY_Y: tl.constexpr,
    QUERY_X: tl.constexpr,
    KEY_Y: tl.constexpr,
    KEY_X: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One program per tile of queries of one head of one item; `out` and `lse` are dense.

    Source:
        Dao 2023, https://arxiv.org/abs/2307.08691, algorithm 1; Hassani et al. 2022,
        https://arxiv.org/abs/2204.07143.
    """
    heads, Y, X = grid.H, grid.Y, grid.X
    tiles_x = tl.cdiv(X, QUERY_X)
    tiles = tiles_x * tl.cdiv(Y, QUERY_Y)
    program = tl.program_id(0)
    start_y = ((program % tiles) // tiles_x) * QUERY_Y
    start_x = (program % tiles_x) * QUERY_X
    line = (program // tiles).to(tl.int64)
    head, batch = line % heads, line // heads
    out += line * Y * X * D
    lse += line * Y * X

    count = column_count(lengths, batch, X)
    y, x, inside = tile_positions(start_y, start_x, Y, X, QUERY_Y, QUERY_X)
    query_block = load_positions(query, batch, head, y, x, inside, D)
    last_y = tl.minimum(start_y + QUERY_Y, Y) - 1
    last_x = tl.minimum(start_x + QUERY_X, count) - 1
    from_y = first_neighbour(start_y, Y, WINDOW_Y)
    from_x = first_neighbour(start_x, count, WINDOW_X)
    to_y = first_neighbour(last_y, Y, WINDOW_Y) + WINDOW_Y
    to_x = tl.minimum(first_neighbour(last_x, count, WINDOW_X) + WINDOW_X, count)
    top = tl.full((QUERY_Y * QUERY_X,), float("-inf"), tl.float32)
    total = tl.zeros((QUERY_Y * QUERY_X,), tl.float32)
    sums = tl.zeros((QUERY_Y * QUERY_X, D), tl.float32)
    for key_y0 in range(from_y, to_y, KEY_Y):
        for key_x0 in range(from_x, to_x, KEY_X):
            key_y, key_x, there = tile_positions(key_y0, key_x0, Y, count, KEY_Y, KEY_X)
            key_block = load_positions(key, batch, head, key_y, key_x, there, D)
            scores = scores_of(
                tl.dot(query_block, tl.trans(key_block), input_precision=PRECISION),
                table,
                head,
                heads,
                y[:, None],
                x[:, None],
                key_y[None, :],
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
            new_top = tl.maximum(top, tl.max(scores, axis=1))
            # A row that has seen no key yet has top = -inf, and -inf - -inf is not a number.
            base = tl.where(new_top == float("-inf"), 0.0, new_top)
            weights = tl.exp2(scores - base[:, None])
            decay = tl.exp2(top - base)
            total = total * decay + tl.sum(weights, axis=1)
            value_block = load_positions(value, batch, head, key_y, key_x, there, D)
            sums = sums * decay[:, None]
            sums += tl.dot(weights.to(value_block.dtype), value_block, input_precision=PRECISION)
            top = new_top
    empty = total == 0.0
    total = tl.where(empty, 1.0, total)
    store_positions(out, y, x, inside, X, sums / total[:, None], D)
    sums_lse = tl.where(empty, float("-inf"), (top + tl.log2(total)) / LOG2E)
    tl.store(lse + y * X + x, sums_lse, mask=inside)
