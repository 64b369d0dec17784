"""The backward kernels. Each program owns what it writes: no atomics, a second run gives the same bits."""

import triton
import triton.language as tl

from headway.core.ops.kernels.rows import LOG2E
from headway.core.ops.neighbourhood.triton.tile import (
    column_count,
    first_neighbour,
    first_visitor,
    last_visitor,
    load_dense,
    load_positions,
    scores_of,
    store_positions,
    tile_positions,
)


@triton.jit
def load_statistics(lse, delta, y, x, inside, X):
    """Log-sum-exp in units of log 2 and delta; an empty or missing row gets weights of zero."""
    sums = tl.load(lse + y * X + x, mask=inside, other=float("-inf"))
    sums = tl.where(sums == float("-inf"), float("inf"), sums * LOG2E)
    return sums, tl.load(delta + y * X + x, mask=inside, other=0.0)


@triton.jit
def query_kernel(
    query,
    key,
    value,
    table,
    lengths,
    grad_out,
    lse,
    delta,
    grad_query,
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
    """One program per tile of queries; `grad_out`, `lse`, `delta` and `grad_query` are dense."""
    heads, Y, X = grid.H, grid.Y, grid.X
    tiles_x = tl.cdiv(X, QUERY_X)
    tiles = tiles_x * tl.cdiv(Y, QUERY_Y)
    program = tl.program_id(0)
    start_y = ((program % tiles) // tiles_x) * QUERY_Y
    start_x = (program % tiles_x) * QUERY_X
    line = (program // tiles).to(tl.int64)
    head, batch = line % heads, line // heads
    grad_out += line * Y * X * D
    grad_query += line * Y * X * D

    count = column_count(lengths, batch, X)
    y, x, inside = tile_positions(start_y, start_x, Y, X, QUERY_Y, QUERY_X)
    query_block = load_positions(query, batch, head, y, x, inside, D)
    grad_block = load_dense(grad_out, y, x, inside, X, D)
    sums, deltas = load_statistics(lse + line * Y * X, delta + line * Y * X, y, x, inside, X)
    from_y = first_neighbour(start_y, Y, WINDOW_Y)
    from_x = first_neighbour(start_x, count, WINDOW_X)
    last_y = tl.minimum(start_y + QUERY_Y, Y) - 1
    last_x = tl.minimum(start_x + QUERY_X, count) - 1
    to_y = first_neighbour(last_y, Y, WINDOW_Y) + WINDOW_Y
    to_x = tl.minimum(first_neighbour(last_x, count, WINDOW_X) + WINDOW_X, count)
    query_sums = tl.zeros((QUERY_Y * QUERY_X, D), tl.float32)
    for key_y0 in range(from_y, to_y, KEY_Y):
        for key_x0 in range(from_x, to_x, KEY_X):
            key_y, key_x, there = tile_positions(key_y0, key_x0, Y, count, KEY_Y, KEY_X)
            key_block = load_positions(key, batch, head, key_y, key_x, there, D)
            value_block = load_positions(value, batch, head, key_y, key_x, there, D)
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
            weights = tl.exp2(scores - sums[:, None])
            grad_weights = tl.dot(grad_block, tl.trans(value_block), input_precision=PRECISION)
            grad_scores = weights * (grad_weights - deltas[:, None])
            query_sums += tl.dot(
                grad_scores.to(key_block.dtype), key_block, input_precision=PRECISION
            )
    store_positions(grad_query, y, x, inside, X, query_sums * scale, D)


@triton.jit
def key_value_kernel(
    query,
    key,
    value,
    table,
    lengths,
    grad_out,
    lse,
    delta,
    grad_key,
    grad_value,
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
    """One program per tile of keys; it visits the queries whose windows hold them."""
    heads, Y, X = grid.H, grid.Y, grid.X
    tiles_x = tl.cdiv(X, KEY_X)
    tiles = tiles_x * tl.cdiv(Y, KEY_Y)
    program = tl.program_id(0)
    start_y = ((program % tiles) // tiles_x) * KEY_Y
    start_x = (program % tiles_x) * KEY_X
    line = (program // tiles).to(tl.int64)
    head, batch = line % heads, line // heads
    grad_out += line * Y * X * D
    grad_key += line * Y * X * D
    grad_value += line * Y * X * D

    count = column_count(lengths, batch, X)
    y, x, inside = tile_positions(start_y, start_x, Y, X, KEY_Y, KEY_X)
    there = inside & (x < count)
    key_block = load_positions(key, batch, head, y, x, there, D)
    value_block = load_positions(value, batch, head, y, x, there, D)
    key_sums = tl.zeros((KEY_Y * KEY_X, D), tl.float32)
    value_sums = tl.zeros((KEY_Y * KEY_X, D), tl.float32)
    from_y = first_visitor(start_y, Y, WINDOW_Y)
    from_x = first_visitor(start_x, count, WINDOW_X)
    to_y = last_visitor(tl.minimum(start_y + KEY_Y, Y) - 1, Y, WINDOW_Y) + 1
    to_x = last_visitor(tl.minimum(start_x + KEY_X, count) - 1, count, WINDOW_X) + 1
    to_x = tl.where(start_x < count, to_x, 0)
    for query_y0 in range(from_y, to_y, QUERY_Y):
        for query_x0 in range(from_x, to_x, QUERY_X):
            query_y, query_x, asked = tile_positions(query_y0, query_x0, Y, X, QUERY_Y, QUERY_X)
            query_block = load_positions(query, batch, head, query_y, query_x, asked, D)
            grad_block = load_dense(grad_out, query_y, query_x, asked, X, D)
            sums, deltas = load_statistics(
                lse + line * Y * X, delta + line * Y * X, query_y, query_x, asked, X
            )
            scores = scores_of(
                tl.dot(key_block, tl.trans(query_block), input_precision=PRECISION),
                table,
                head,
                heads,
                query_y[None, :],
                query_x[None, :],
                y[:, None],
                x[:, None],
                there[:, None],
                Y,
                count,
                scale * LOG2E,
                WINDOW_Y,
                WINDOW_X,
                TABLE_Y,
                TABLE_X,
            )
            weights = tl.exp2(scores - sums[None, :])
            value_sums += tl.dot(
                weights.to(grad_block.dtype), grad_block, input_precision=PRECISION
            )
            grad_weights = tl.dot(value_block, tl.trans(grad_block), input_precision=PRECISION)
            grad_scores = weights * (grad_weights - deltas[None, :])
            key_sums += tl.dot(
                grad_scores.to(query_block.dtype), query_block, input_precision=PRECISION
            )
    store_positions(grad_key, y, x, inside, X, key_sums * scale, D)
    store_positions(grad_value, y, x, inside, X, value_sums, D)
