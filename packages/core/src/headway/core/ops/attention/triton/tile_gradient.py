"""The gradient of one tile of scores, as the kernels of queries, bias and table need it."""

import triton
import triton.language as tl

from headway.core.ops.attention.triton.scores import (
    in_rows,
    kept,
    key_range,
    query_limits,
    tile_scores,
)
from headway.core.ops.attention.triton.shift import query_rows, shifted
from headway.core.ops.attention.triton.statistics import load_statistics
from headway.core.ops.kernels.rows import head_of, load_rows


@triton.jit
def grad_of_weights(weights, grad_weights, deltas, rows, columns, batch, head, rules, shape):
    """The gradient of the final scores, queries first, from that of what multiplies the values."""
    if rules.dropout is not None:
        line = (batch * shape.H + head) * shape.T
        stays = kept(rows, columns, line, shape, rules.dropout)
        grad_weights = tl.where(stays, grad_weights * rules.dropout.gain, 0.0)
    return weights * (grad_weights - deltas[:, None])


@triton.jit
def grad_of_scores(
    query_block,
    key_block,
    value_block,
    grad_block,
    sums,
    deltas,
    rows,
    columns,
    limits,
    batch,
    head,
    rules,
    shape,
    relative,
    PRECISION: tl.constexpr,
):
    """The gradient of the final scores, queries first, and the slope of the cap under them."""
    scores, slope = tile_scores(
        tl.dot(query_block, tl.trans(key_block), input_precision=PRECISION),
        rows[:, None],
        columns[None, :],
        in_rows(limits, rules),
        batch,
        head,
        rules,
        relative,
    )
    weights = tl.exp2(scores - sums[:, None])
    grad_weights = tl.dot(grad_block, tl.trans(value_block), input_precision=PRECISION)
    gradient = grad_of_weights(
        weights,
        grad_weights,
        deltas,
        rows[:, None],
        columns[None, :],
        batch,
        head,
        rules,
        shape,
    )
    return gradient, slope


@triton.jit
def visit_tile(
    query,
    key,
    value,
    grad_out,
    lse,
    delta,
    start_t,
    start_s,
    batch,
    head,
    rules,
    shape,
    GROUPS: tl.constexpr,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    DV: tl.constexpr,
    BLOCK_DV: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The gradient of a tile from operands in memory; one that nothing is seen in costs no product."""
    rows = start_t + tl.arange(0, BLOCK_T)
    columns = start_s + tl.arange(0, BLOCK_S)
    rows_64, columns_64 = rows.to(tl.int64), columns.to(tl.int64)
    limits = query_limits(rows, shape.T, batch, shape, rules)
    first, last = key_range(limits, batch, shape, rules)
    seen = True
    if rules.packing is not None or rules.left is not None or rules.right is not None:
        seen = (start_s < last) & (start_s + BLOCK_S > first)
    gradient = tl.zeros((BLOCK_T, BLOCK_S), tl.float32)
    if seen:
        line = (batch * shape.H + head) * shape.T
        sums, deltas = load_statistics(lse + line, delta + line, rows, shape.T)
        query_start, grad_start = head_of(query, batch, head), head_of(grad_out, batch, head)
        key_start = head_of(key, batch, head // GROUPS)
        value_start = head_of(value, batch, head // GROUPS)
        gradient, _ = grad_of_scores(
            load_rows(query_start, rows_64, shape.T, query.stride_n, D, BLOCK_D),
            load_rows(key_start, columns_64, last, key.stride_n, D, BLOCK_D),
            load_rows(value_start, columns_64, last, value.stride_n, DV, BLOCK_DV),
            load_rows(grad_start, rows_64, shape.T, grad_out.stride_n, DV, BLOCK_DV),
            sums,
            deltas,
            rows,
            columns,
            limits,
            batch,
            head,
            rules,
            shape,
            shifted(
                query_rows(rules, rows, shape.T, batch, head, D, BLOCK_D),
                rules,
                start_t,
                start_s,
                head,
                shape,
                D,
                BLOCK_D,
                BLOCK_T,
                BLOCK_S,
                PRECISION,
            ),
            PRECISION,
        )
    return gradient
