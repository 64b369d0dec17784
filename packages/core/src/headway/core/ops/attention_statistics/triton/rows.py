"""What is known of each query after one look at its scores: log-sum-exp, entropy, largest weights."""

# Triton's reductions have no types that a checker could follow, and constants decide what is defined.
# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportOperatorIssue=false, reportPossiblyUnboundVariable=false

import triton
import triton.language as tl

from headway.core.ops.attention.triton.operands import find_block
from headway.core.ops.attention.triton.scores import (
    in_rows,
    key_range,
    query_limits,
    tile_scores,
)
from headway.core.ops.kernels.rows import LOG2E, head_of, load_rows


@triton.jit
def rows_kernel(
    query,
    key,
    lse,
    entropy,
    top_keys,
    top_scores,
    rules,
    shape,
    blocks,
    GROUPS: tl.constexpr,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    TOP: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One program per block of queries of one head of one item.

    `top_keys` and `top_scores` are (B, H, T, TOP), in no order; TOP is a power of two, or 0.
    """
    begin, end, rest = find_block(tl.program_id(0), blocks, shape.T, BLOCK_T)
    if begin >= end:
        return
    head = (rest % shape.H).to(tl.int64)
    batch = (rest // shape.H).to(tl.int64)
    key_start = head_of(key, batch, head // GROUPS)
    line = (batch * shape.H + head) * shape.T

    rows = begin + tl.arange(0, BLOCK_T)
    limits = query_limits(rows, end, batch, shape, rules)
    first, last = key_range(limits, batch, shape, rules)
    rows_64 = rows.to(tl.int64)
    query_block = load_rows(head_of(query, batch, head), rows_64, end, query.stride_n, D, BLOCK_D)
    top = tl.full((BLOCK_T,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_T,), tl.float32)
    # The sum of weights times scores, from which the entropy comes.
    moment = tl.zeros((BLOCK_T,), tl.float32)
    if TOP:
        most = tl.full((BLOCK_T, TOP), float("-inf"), tl.float32)
        positions = tl.full((BLOCK_T, TOP), -1, tl.int32)
        slots = tl.arange(0, TOP)[None, :]
    for start in range(first, last, BLOCK_S):
        columns = start + tl.arange(0, BLOCK_S)
        key_block = load_rows(key_start, columns.to(tl.int64), last, key.stride_n, D, BLOCK_D)
        scores, _ = tile_scores(
            tl.dot(query_block, tl.trans(key_block), input_precision=PRECISION),
            rows[:, None],
            columns[None, :],
            in_rows(limits, rules),
            batch,
            head,
            rules,
        )
        new_top = tl.maximum(top, tl.max(scores, axis=1))
        # A row that has seen no key yet has top = -inf, and -inf - -inf is not a number.
        base = tl.where(new_top == float("-inf"), 0.0, new_top)
        weights = tl.exp2(scores - base[:, None])
        decay = tl.exp2(top - base)
        total = total * decay + tl.sum(weights, axis=1)
        seen = tl.where(scores == float("-inf"), 0.0, scores)
        moment = moment * decay + tl.sum(weights * seen, axis=1)
        top = new_top
        if TOP:
            # Any of the largest of a block may push out the smallest of those before.
            for _ in range(TOP):
                best = tl.max(scores, axis=1)
                column = tl.min(
                    tl.where(scores == best[:, None], columns[None, :], 2147483647), axis=1
                )
                least = tl.min(most, axis=1)
                slot = tl.min(tl.where(most == least[:, None], slots, TOP), axis=1)
                better = (slots == slot[:, None]) & (best > least)[:, None]
                most = tl.where(better, best[:, None], most)
                positions = tl.where(better, column[:, None], positions)
                scores = tl.where(columns[None, :] == column[:, None], float("-inf"), scores)
    nothing = total == 0.0
    found = tl.where(nothing, float("-inf"), top + tl.log2(tl.where(nothing, 1.0, total)))
    if rules.sinks is not None:
        sink = tl.load(rules.sinks + head).to(tl.float32) * LOG2E
        higher = tl.maximum(top, sink)
        base = tl.where(higher == float("-inf"), 0.0, higher)
        share = total * tl.exp2(top - base)
        moment = moment * tl.exp2(top - base)
        sums = share + tl.exp2(sink - base)
        found = base + tl.log2(sums)
        share = share / sums
        moment = moment / sums
    else:
        moment = moment / tl.where(nothing, 1.0, total)
        share = tl.where(nothing, 0.0, 1.0)
    empty = found == float("-inf")
    tl.store(lse + line + rows, found / LOG2E, mask=rows < end)
    spread = (tl.where(empty, 0.0, found) * share - moment) / LOG2E
    tl.store(entropy + line + rows, tl.where(empty, 0.0, spread), mask=rows < end)
    if TOP:
        memory = (line + rows_64)[:, None] * TOP + slots
        tl.store(top_keys + memory, positions, mask=(rows < end)[:, None])
        tl.store(top_scores + memory, most / LOG2E, mask=(rows < end)[:, None])
