"""The gradient of the queries, and of what one number per head does to their scores."""

import triton
import triton.language as tl

from headway.core.ops.attention.triton.operands import find_block
from headway.core.ops.attention.triton.scores import (
    distance,
    head_scale,
    in_rows,
    key_range,
    query_limits,
)
from headway.core.ops.attention.triton.shift import query_rows, shifted, shifted_back
from headway.core.ops.attention.triton.statistics import load_statistics
from headway.core.ops.attention.triton.tile_gradient import grad_of_scores
from headway.core.ops.kernels.rows import head_of, load_rows, store_rows


@triton.jit
def query_kernel(
    query,
    key,
    value,
    grad_out,
    lse,
    delta,
    grad_query,
    row_slopes,
    row_scales,
    grad_relative,
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
    """One program per block of queries of one head of one item.

    `grad_relative` takes the gradient of the queries of the second product, `row_slopes` and `row_scales`
    each row's share of the gradients of the head's distance penalty and scale. They are None where those
    are not wanted.
    """
    begin, end, rest = find_block(tl.program_id(0), blocks, shape.T, BLOCK_T)
    if begin >= end:
        return
    head = (rest % shape.H).to(tl.int64)
    batch = (rest // shape.H).to(tl.int64)
    key_start = head_of(key, batch, head // GROUPS)
    value_start = head_of(value, batch, head // GROUPS)
    line = (batch * shape.H + head) * shape.T

    rows = begin + tl.arange(0, BLOCK_T)
    rows_64 = rows.to(tl.int64)
    limits = query_limits(rows, end, batch, shape, rules)
    first, last = key_range(limits, batch, shape, rules)
    query_start, grad_start = head_of(query, batch, head), head_of(grad_out, batch, head)
    query_block = load_rows(query_start, rows_64, end, query.stride_n, D, BLOCK_D)
    grad_block = load_rows(grad_start, rows_64, end, grad_out.stride_n, DV, BLOCK_DV)
    sums, deltas = load_statistics(lse + line, delta + line, rows, end)
    query_sums = tl.zeros((BLOCK_T, BLOCK_D), tl.float32)
    slope_sums = tl.zeros((BLOCK_T,), tl.float32)
    relative_block = query_rows(rules, rows, end, batch, head, D, BLOCK_D)
    relative_sums = tl.zeros((BLOCK_T, BLOCK_D), tl.float32)
    for start in range(first, last, BLOCK_S):  # pyright: ignore[reportArgumentType]
        columns = start + tl.arange(0, BLOCK_S)
        columns_64 = columns.to(tl.int64)
        key_block = load_rows(key_start, columns_64, last, key.stride_n, D, BLOCK_D)
        grad_scores, slope = grad_of_scores(
            query_block,
            key_block,
            load_rows(value_start, columns_64, last, value.stride_n, DV, BLOCK_DV),
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
            shifted(
                relative_block,
                rules,
                begin,
                start,
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
        if grad_relative is not None:
            relative_sums += shifted_back(
                grad_scores,
                rules,
                begin,
                start,
                head,
                shape,
                D,
                BLOCK_D,
                BLOCK_T,
                BLOCK_S,
                PRECISION,
            )
        if row_slopes is not None:
            steps = distance(rows[:, None], columns[None, :], in_rows(limits, rules))
            slope_sums -= tl.sum(grad_scores * steps, axis=1)
        if rules.softcap is not None:
            grad_scores *= slope
        query_sums += tl.dot(grad_scores.to(key_block.dtype), key_block, input_precision=PRECISION)
    if row_slopes is not None:
        tl.store(row_slopes + line + rows, slope_sums, mask=rows < end)
    if row_scales is not None:
        # A row's products with the gradients of its scores, summed, are its query times these sums.
        shares = tl.sum(query_block.to(tl.float32) * query_sums, axis=1)
        tl.store(row_scales + line + rows, shares, mask=rows < end)
    if grad_relative is not None:
        grad_start = head_of(grad_relative, batch, head)
        store_rows(grad_start, rows_64, end, grad_relative.stride_n, relative_sums, D, BLOCK_D)
    query_sums *= head_scale(rules, head)
    grad_start = head_of(grad_query, batch, head)
    store_rows(grad_start, rows_64, end, grad_query.stride_n, query_sums, D, BLOCK_D)
