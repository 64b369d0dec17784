"""What each key receives from all queries: a product of a vector with the weights, from the left."""

import triton
import triton.language as tl

from headway.core.ops.attention.triton.operands import find_block
from headway.core.ops.attention.triton.scores import (
    in_columns,
    key_count,
    query_limits,
    query_range,
    tile_scores,
)
from headway.core.ops.kernels.rows import LOG2E, head_of, load_rows


@triton.jit
def received_kernel(
    query,
    key,
    lse,
    given,
    received,
    stride_given_b,
    stride_given_h,
    stride_given_t,
    rules,
    shape,
    blocks,
    GROUPS: tl.constexpr,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One program per block of keys and query head; it visits the queries in order."""
    begin, end, rest = find_block(tl.program_id(0), blocks, shape.S, BLOCK_S)
    if begin >= end:
        return
    head = (rest % shape.H).to(tl.int64)
    batch = (rest // shape.H).to(tl.int64)

    columns = begin + tl.arange(0, BLOCK_S)
    count = tl.minimum(end, key_count(rules.lengths, batch, shape.S))
    key_start = head_of(key, batch, head // GROUPS)
    key_block = load_rows(key_start, columns.to(tl.int64), count, key.stride_n, D, BLOCK_D)
    query_start = head_of(query, batch, head)
    line = (batch * shape.H + head) * shape.T
    given += batch * stride_given_b + head * stride_given_h
    sums = tl.zeros((BLOCK_S,), tl.float32)
    first, last = query_range(begin, tl.minimum(begin + BLOCK_S, end), batch, shape, rules)
    for start in range(first, last, BLOCK_T):
        rows = start + tl.arange(0, BLOCK_T)
        limits = query_limits(rows, last, batch, shape, rules)
        query_block = load_rows(query_start, rows.to(tl.int64), last, query.stride_n, D, BLOCK_D)
        scores, _ = tile_scores(
            tl.dot(key_block, tl.trans(query_block), input_precision=PRECISION),
            rows[None, :],
            columns[:, None],
            in_columns(limits, rules),
            batch,
            head,
            rules,
        )
        total = tl.load(lse + line + rows, mask=rows < last, other=float("-inf"))
        # An empty row gives nothing.
        total = tl.where(total == float("-inf"), float("inf"), total * LOG2E)
        share = tl.load(given + rows * stride_given_t, mask=rows < last, other=0.0)
        weights = tl.exp2(scores - total[None, :]) * share.to(tl.float32)[None, :]
        sums += tl.sum(weights, axis=1)
    tl.store(received + (batch * shape.H + head) * shape.S + columns, sums, mask=columns < end)
