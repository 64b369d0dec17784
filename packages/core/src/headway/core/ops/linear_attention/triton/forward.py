"""The kernels of the forward pass; that of the states runs backwards for their gradients, too."""

import triton
import triton.language as tl

from headway.core.ops.kernels.rows import head_of
from headway.core.ops.linear_attention.triton.blocks import (
    causal_weights,
    load_block,
    load_decay,
    store_block,
)


@triton.jit
def state_kernel(
    rows_in,
    values_in,
    share,
    extra,
    decay,
    states,
    sums,
    sizes,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
    NORMALIZE: tl.constexpr,
    REVERSE: tl.constexpr,
    STATE_PRECISION: tl.constexpr,
):
    """One program per BLOCK_S columns of the state of one head of one item.

    Forward, entry c of `states` is the state before chunk c: sums of keys times values. In reverse, with
    queries and gradients of outputs, entry c is the gradient of the state before chunk c. The first
    (last) entry is given. `sums` is the column of the state that sums the weights.
    """
    H, N, CHUNKS, E = sizes.H, sizes.N, sizes.CHUNKS, sizes.E
    blocks = tl.cdiv(E, BLOCK_S)
    program = tl.program_id(0)
    columns = (program % blocks) * BLOCK_S + tl.arange(0, BLOCK_S)
    item = program // blocks
    head_64, batch_64, item_64 = (
        (item % H).to(tl.int64),
        (item // H).to(tl.int64),
        item.to(tl.int64),
    )
    rows_in_start = head_of(rows_in, batch_64, head_64)
    values_in_start = head_of(values_in, batch_64, head_64)
    states += item_64 * (CHUNKS + 1) * D * E
    sums += item_64 * (CHUNKS + 1) * D
    if decay is not None:
        decay += item_64 * N
    if REVERSE and NORMALIZE:
        share += item_64 * N
        extra += item_64 * N
    channels = tl.arange(0, BLOCK_D)
    entry = CHUNKS if REVERSE else 0
    state = load_block(states + entry * D * E, channels, columns, D, E, E)
    total = tl.zeros((BLOCK_D,), tl.float32)
    if NORMALIZE:
        total = tl.load(sums + entry * D + channels, mask=channels < D, other=0.0)
    for step in range(0, CHUNKS):
        chunk = CHUNKS - 1 - step if REVERSE else step
        rows = chunk * BLOCK_T + tl.arange(0, BLOCK_T)
        row_block = load_block(rows_in_start, rows, channels, N, D, rows_in.stride_n).to(tl.float32)
        value_block = load_block(values_in_start, rows, columns, N, E, values_in.stride_n).to(
            tl.float32
        )
        summed, whole = load_decay(decay, rows, N, BLOCK_T)
        if decay is not None:
            row_block *= tl.exp(summed if REVERSE else whole - summed)[:, None]
            state *= tl.exp(whole)
            total *= tl.exp(whole)
        if NORMALIZE:
            if REVERSE:
                value_block *= tl.load(share + rows, mask=rows < N, other=0.0)[:, None]
                more = tl.load(extra + rows, mask=rows < N, other=0.0)
                total += tl.sum(row_block * more[:, None], axis=0)
            else:
                total += tl.sum(row_block, axis=0)
        state += tl.dot(tl.trans(row_block), value_block, input_precision=STATE_PRECISION)
        entry = chunk if REVERSE else chunk + 1
        store_block(states + entry * D * E, channels, columns, D, E, E, state)
        if NORMALIZE and program % blocks == 0:
            tl.store(sums + entry * D + channels, total, mask=channels < D)


@triton.jit
def output_kernel(
    query,
    key,
    value,
    decay,
    states,
    sums,
    out,
    total,
    sizes,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
    NORMALIZE: tl.constexpr,
    PRECISION: tl.constexpr,
    STATE_PRECISION: tl.constexpr,
):
    """One program per chunk of one head of one item."""
    H, N, CHUNKS, E = sizes.H, sizes.N, sizes.CHUNKS, sizes.E
    program = tl.program_id(0)
    chunk = program % CHUNKS
    item = program // CHUNKS
    head_64, batch_64, item_64 = (
        (item % H).to(tl.int64),
        (item // H).to(tl.int64),
        item.to(tl.int64),
    )
    query_start = head_of(query, batch_64, head_64)
    key_start = head_of(key, batch_64, head_64)
    value_start = head_of(value, batch_64, head_64)
    out_start = head_of(out, batch_64, head_64)
    if decay is not None:
        decay += item_64 * N
    states += (item_64 * (CHUNKS + 1) + chunk) * D * E
    positions = tl.arange(0, BLOCK_T)
    rows = chunk * BLOCK_T + positions
    channels = tl.arange(0, BLOCK_D)
    query_block = load_block(query_start, rows, channels, N, D, query.stride_n)
    key_block = load_block(key_start, rows, channels, N, D, key.stride_n)
    summed, _ = load_decay(decay, rows, N, BLOCK_T)
    scores = tl.dot(query_block, tl.trans(key_block), input_precision=PRECISION)
    scores = causal_weights(scores, summed, positions, decay)
    # Sums of many tokens: beyond the range of float16 and the digits of bfloat16.
    wide_query = query_block.to(tl.float32)
    if decay is not None:
        wide_query *= tl.exp(summed)[:, None]
    share = tl.full((BLOCK_T,), 1.0, tl.float32)
    if NORMALIZE:
        before = tl.load(
            sums + (item_64 * (CHUNKS + 1) + chunk) * D + channels, mask=channels < D, other=0.0
        )
        weight = tl.sum(scores, axis=1) + tl.sum(wide_query * before[None, :], axis=1)
        tl.store(total + item_64 * N + rows, weight, mask=rows < N)
        share = 1.0 / tl.where(weight > 0.0, weight, 1.0)  # pyright: ignore[reportOperatorIssue]
    for start in range(0, E, BLOCK_S):
        columns = start + tl.arange(0, BLOCK_S)
        value_block = load_block(value_start, rows, columns, N, E, value.stride_n).to(tl.float32)
        state = load_block(states, channels, columns, D, E, E)
        block = tl.dot(wide_query, state, input_precision=STATE_PRECISION)
        block += tl.dot(scores, value_block, input_precision=STATE_PRECISION)
        store_block(out_start, rows, columns, N, E, out.stride_n, block * share[:, None])
