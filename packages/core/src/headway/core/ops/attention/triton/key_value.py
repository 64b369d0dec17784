"""The gradients of keys and values.

Each program owns the gradients that it writes and adds them up in a fixed order: no atomics, so that a
second run gives the same bits.
"""

import triton
import triton.language as tl

from headway.core.ops.attention.triton.operands import find_block
from headway.core.ops.attention.triton.scores import (
    head_scale,
    in_columns,
    kept,
    key_count,
    query_limits,
    query_range,
    tile_scores,
)
from headway.core.ops.attention.triton.shift import query_rows, shifted_columns
from headway.core.ops.attention.triton.statistics import load_statistics
from headway.core.ops.kernels.rows import head_of, load_rows, store_rows


@triton.jit
def key_value_kernel(
    query,
    key,
    value,
    grad_out,
    lse,
    delta,
    grad_key,
    grad_value,
    rules,
    shape,
    blocks,
    GROUPS: tl.constexpr,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    DV: tl.constexpr,
    BLOCK_DV: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One program per block of keys of one key head; it visits all query heads of the group.

    Source:
        Dao 2023, https://arxiv.org/abs/2307.08691, algorithm 2.
    """
    begin, end, rest = find_block(tl.program_id(0), blocks, shape.S, BLOCK_S)
    if begin >= end:
        return
    kv_heads = shape.H // GROUPS
    kv_head = (rest % kv_heads).to(tl.int64)
    batch = (rest // kv_heads).to(tl.int64)

    columns = begin + tl.arange(0, BLOCK_S)
    columns_64 = columns.to(tl.int64)
    count = tl.minimum(end, key_count(rules.lengths, batch, shape.S))
    key_start, value_start = head_of(key, batch, kv_head), head_of(value, batch, kv_head)
    key_block = load_rows(key_start, columns_64, count, key.stride_n, D, BLOCK_D)
    value_block = load_rows(value_start, columns_64, count, value.stride_n, DV, BLOCK_DV)
    key_sums = tl.zeros((BLOCK_S, BLOCK_D), tl.float32)
    value_sums = tl.zeros((BLOCK_S, BLOCK_DV), tl.float32)
    first, last = query_range(begin, tl.minimum(begin + BLOCK_S, end), batch, shape, rules)
    for member in range(GROUPS):
        head = kv_head * GROUPS + member
        query_start, grad_start = head_of(query, batch, head), head_of(grad_out, batch, head)
        line = (batch * shape.H + head) * shape.T
        for start in range(first, last, BLOCK_T):
            rows = start + tl.arange(0, BLOCK_T)
            rows_64 = rows.to(tl.int64)
            limits = query_limits(rows, last, batch, shape, rules)
            query_block = load_rows(query_start, rows_64, last, query.stride_n, D, BLOCK_D)
            sums, deltas = load_statistics(lse + line, delta + line, rows, last)
            scores, slope = tile_scores(
                tl.dot(key_block, tl.trans(query_block), input_precision=PRECISION),
                rows[None, :],
                columns[:, None],
                in_columns(limits, rules),
                batch,
                head,
                rules,
                shifted_columns(
                    query_rows(rules, rows, last, batch, head, D, BLOCK_D),
                    rules,
                    start,
                    begin,
                    head,
                    shape,
                    D,
                    BLOCK_D,
                    BLOCK_T,
                    BLOCK_S,
                    PRECISION,
                ),
            )
            weights = tl.exp2(scores - sums[None, :])
            grad_block = load_rows(grad_start, rows_64, last, grad_out.stride_n, DV, BLOCK_DV)
            grad_weights = tl.dot(value_block, tl.trans(grad_block), input_precision=PRECISION)
            given = weights
            if rules.dropout is not None:
                stays = kept(rows[None, :], columns[:, None], line, shape, rules.dropout)
                given = tl.where(stays, weights, 0.0)
                grad_weights = tl.where(stays, grad_weights * rules.dropout.gain, 0.0)
            value_sums += tl.dot(given.to(grad_block.dtype), grad_block, input_precision=PRECISION)
            grad_scores = weights * (grad_weights - deltas[None, :])
            if rules.softcap is not None:
                grad_scores *= slope
            if rules.scales is not None:
                grad_scores *= head_scale(rules, head)
            key_sums += tl.dot(
                grad_scores.to(query_block.dtype), query_block, input_precision=PRECISION
            )
    if rules.scales is None:
        key_sums *= rules.scale
    if rules.dropout is not None:
        value_sums *= rules.dropout.gain
    # Keys that do not exist have sums of zero.
    key_start, value_start = head_of(grad_key, batch, kv_head), head_of(grad_value, batch, kv_head)
    store_rows(key_start, columns_64, end, grad_key.stride_n, key_sums, D, BLOCK_D)
    store_rows(value_start, columns_64, end, grad_value.stride_n, value_sums, DV, BLOCK_DV)
