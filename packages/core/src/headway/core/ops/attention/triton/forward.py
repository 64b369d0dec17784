"""The forward kernel: online softmax over blocks of keys."""

import triton
import triton.language as tl

from headway.core.ops.attention.triton.operands import find_block
from headway.core.ops.attention.triton.scores import (
    in_rows,
    kept,
    key_range,
    query_limits,
    tile_scores,
)
from headway.core.ops.attention.triton.shift import query_rows, shifted
from headway.core.ops.kernels.rows import LOG2E, head_of, load_rows, store_rows


@triton.jit
def forward_kernel(
    query,
    key,
    value,
    out,
    lse,
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

    Source:
        Dao 2023, https://arxiv.org/abs/2307.08691, algorithm 1.
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
    limits = query_limits(rows, end, batch, shape, rules)
    first, last = key_range(limits, batch, shape, rules)
    rows_64 = rows.to(tl.int64)
    query_block = load_rows(head_of(query, batch, head), rows_64, end, query.stride_n, D, BLOCK_D)
    relative_block = query_rows(rules, rows, end, batch, head, D, BLOCK_D)
    top = tl.full((BLOCK_T,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_T,), tl.float32)
    if rules.sinks is not None:
        # A sink is a key seen before all others, whose value is zero.
        top = tl.zeros((BLOCK_T,), tl.float32)
        top += tl.load(rules.sinks + head).to(tl.float32) * LOG2E
        total = tl.where(top > float("-inf"), 1.0, 0.0)
    sums = tl.zeros((BLOCK_T, BLOCK_DV), tl.float32)
    for start in range(first, last, BLOCK_S):  # pyright: ignore[reportArgumentType]
        columns = start + tl.arange(0, BLOCK_S)
        columns_64 = columns.to(tl.int64)
        key_block = load_rows(key_start, columns_64, last, key.stride_n, D, BLOCK_D)
        scores, _ = tile_scores(
            tl.dot(query_block, tl.trans(key_block), input_precision=PRECISION),
            rows[:, None],
            columns[None, :],
            in_rows(limits, rules),
            batch,
            head,
            rules,
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
        )
        new_top = tl.maximum(top, tl.max(scores, axis=1))
        # A row that has seen no key yet has top = -inf, and -inf - -inf is not a number.
        base = tl.where(new_top == float("-inf"), 0.0, new_top)
        weights = tl.exp2(scores - base[:, None])
        decay = tl.exp2(top - base)
        total = total * decay + tl.sum(weights, axis=1)
        if rules.dropout is not None:
            stays = kept(rows[:, None], columns[None, :], line, shape, rules.dropout)
            weights = tl.where(stays, weights, 0.0)
        value_block = load_rows(value_start, columns_64, last, value.stride_n, DV, BLOCK_DV)
        sums = sums * decay[:, None]
        sums += tl.dot(weights.to(value_block.dtype), value_block, input_precision=PRECISION)
        top = new_top
    empty = total == 0.0
    total = tl.where(empty, 1.0, total)
    sums = sums / total[:, None]
    if rules.dropout is not None:
        sums *= rules.dropout.gain
    store_rows(head_of(out, batch, head), rows_64, end, out.stride_n, sums, DV, BLOCK_DV)
    found = tl.where(empty, float("-inf"), (top + tl.log2(total)) / LOG2E)
    tl.store(lse + line + rows, found, mask=rows < end)
