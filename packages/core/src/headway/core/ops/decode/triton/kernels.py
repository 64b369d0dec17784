"""The kernels: partial softmax over a split of the keys, and the merge of the splits."""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from headway.core.ops.kernels.rows import head_of, load_rows, store_rows


class Sizes(NamedTuple):
    """Heads of keys, new tokens, rows (queries that share a head of keys), keys, and splits of the keys."""

    HKV: Any
    T: Any
    ROWS: Any
    S: Any
    SPLITS: Any


@triton.jit
def split_kernel(
    query,
    keys,
    values,
    lengths,
    partial,
    tops,
    totals,
    scale_log2,
    sizes,
    window,
    GROUPS: tl.constexpr,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    E: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
    SPLIT: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One program per split of the keys of one head of keys: all queries that share it."""
    HKV, T, ROWS, S, SPLITS = sizes.HKV, sizes.T, sizes.ROWS, sizes.S, sizes.SPLITS
    program = tl.program_id(0)
    split = program % SPLITS
    head = (program // SPLITS) % HKV
    batch = program // (SPLITS * HKV)
    head_64, batch_64 = head.to(tl.int64), batch.to(tl.int64)
    length = tl.load(lengths + batch).to(tl.int32)
    key_start = head_of(keys, batch_64, head_64)
    value_start = head_of(values, batch_64, head_64)
    # Row r is query r % T of head r // T of those that share the keys.
    rows = tl.arange(0, BLOCK_T)
    group, token = rows // T, rows % T
    columns = tl.arange(0, BLOCK_D)
    offsets = (head_64 * GROUPS + group) * query.stride_h + token * query.stride_n
    query_block = tl.load(
        query.start + batch_64 * query.stride_b + offsets[:, None] + columns[None, :],
        mask=(rows < ROWS)[:, None] & (columns < D)[None, :],
        other=0.0,
    )
    last = length + token - 1
    end = tl.minimum(tl.minimum(length + T - 1, S), (split + 1) * SPLIT)
    start = split * SPLIT
    if window is not None:
        # The first query sees furthest back.
        start = tl.maximum(start, (tl.maximum(length - 1 - window, 0) // BLOCK_S) * BLOCK_S)
    top = tl.full((BLOCK_T,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_T,), tl.float32)
    sums = tl.zeros((BLOCK_T, BLOCK_E), tl.float32)
    for start_s in range(start, end, BLOCK_S):
        here = start_s + tl.arange(0, BLOCK_S)
        key_block = load_rows(key_start, here, end, keys.stride_n, D, BLOCK_D)
        scores = tl.dot(query_block, tl.trans(key_block), input_precision=PRECISION) * scale_log2
        seen = (here[None, :] <= last[:, None]) & (here < end)[None, :]
        if window is not None:
            seen = seen & (here[None, :] >= last[:, None] - window)
        scores = tl.where(seen, scores, float("-inf"))
        new_top = tl.maximum(top, tl.max(scores, axis=1))
        base = tl.where(new_top == float("-inf"), 0.0, new_top)
        weights = tl.exp2(scores - base[:, None])
        decay = tl.exp2(top - base)
        total = total * decay + tl.sum(weights, axis=1)
        value_block = load_rows(value_start, here, end, values.stride_n, E, BLOCK_E)
        sums = sums * decay[:, None]
        sums += tl.dot(weights.to(value_block.dtype), value_block, input_precision=PRECISION)
        top = new_top
    first = (batch_64 * HKV + head_64) * SPLITS + split
    store_rows(partial + first * ROWS * E, rows, ROWS, E, sums, E, BLOCK_E)
    tl.store(tops + first * ROWS + rows, top, mask=rows < ROWS)
    tl.store(totals + first * ROWS + rows, total, mask=rows < ROWS)


@triton.jit
def merge_kernel(
    partial,
    tops,
    totals,
    out,
    sizes,
    GROUPS: tl.constexpr,
    E: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_T: tl.constexpr,
):
    """One program per head of keys: its splits from the first to the last."""
    HKV, T, ROWS, SPLITS = sizes.HKV, sizes.T, sizes.ROWS, sizes.SPLITS
    program = tl.program_id(0)
    head_64, batch_64 = (program % HKV).to(tl.int64), (program // HKV).to(tl.int64)
    first = program.to(tl.int64) * SPLITS
    rows = tl.arange(0, BLOCK_T)
    top = tl.full((BLOCK_T,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_T,), tl.float32)
    sums = tl.zeros((BLOCK_T, BLOCK_E), tl.float32)
    for split in range(0, SPLITS):
        here = first + split
        other = tl.load(tops + here * ROWS + rows, mask=rows < ROWS, other=float("-inf"))
        new_top = tl.maximum(top, other)
        base = tl.where(new_top == float("-inf"), 0.0, new_top)
        decay, weight = tl.exp2(top - base), tl.exp2(other - base)
        more = tl.load(totals + here * ROWS + rows, mask=rows < ROWS, other=0.0)
        total = total * decay + more * weight
        block = load_rows(partial + here * ROWS * E, rows, ROWS, E, E, BLOCK_E)
        sums = sums * decay[:, None] + block * weight[:, None]
        top = new_top
    sums = sums / tl.where(total == 0.0, 1.0, total)[:, None]
    columns = tl.arange(0, BLOCK_E)
    offsets = (head_64 * GROUPS + rows // T) * out.stride_h + (rows % T) * out.stride_n
    tl.store(
        out.start + batch_64 * out.stride_b + offsets[:, None] + columns[None, :],
        sums.to(out.start.dtype.element_ty),
        mask=(rows < ROWS)[:, None] & (columns < E)[None, :],
    )
