"""The kernels of the backward pass: a chunk's gradients from the states on either side of it."""

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
def query_kernel(
    query,
    key,
    value,
    grad_out,
    share,
    extra,
    decay,
    states,
    sums,
    grad_query,
    moved,
    sizes,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
    NORMALIZE: tl.constexpr,
    PRECISION: tl.constexpr,
    STATE_PRECISION: tl.constexpr,
):
    """One program per chunk of one head of one item; `moved` gets query times its gradient."""
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
    grad_out_start = head_of(grad_out, batch_64, head_64)
    grad_query_start = head_of(grad_query, batch_64, head_64)
    states += (item_64 * (CHUNKS + 1) + chunk) * D * E
    if decay is not None:
        decay += item_64 * N
    positions = tl.arange(0, BLOCK_T)
    rows = chunk * BLOCK_T + positions
    channels = tl.arange(0, BLOCK_D)
    summed, _ = load_decay(decay, rows, N, BLOCK_T)
    pairs = tl.zeros((BLOCK_T, BLOCK_T), tl.float32)
    grad = tl.zeros((BLOCK_T, BLOCK_D), tl.float32)
    for start in range(0, E, BLOCK_S):
        columns = start + tl.arange(0, BLOCK_S)
        value_block = load_block(value_start, rows, columns, N, E, value.stride_n)
        grad_block = load_block(grad_out_start, rows, columns, N, E, grad_out.stride_n)
        state = load_block(states, channels, columns, D, E, E)
        pairs += tl.dot(grad_block, tl.trans(value_block), input_precision=PRECISION)
        grad += tl.dot(grad_block.to(tl.float32), tl.trans(state), input_precision=STATE_PRECISION)
    if NORMALIZE:
        weight = tl.load(share + item_64 * N + rows, mask=rows < N, other=0.0)
        more = tl.load(extra + item_64 * N + rows, mask=rows < N, other=0.0)
        before = tl.load(
            sums + (item_64 * (CHUNKS + 1) + chunk) * D + channels, mask=channels < D, other=0.0
        )
        pairs = pairs * weight[:, None] + more[:, None]
        grad = grad * weight[:, None] + more[:, None] * before[None, :]
    if decay is not None:
        grad *= tl.exp(summed)[:, None]
    pairs = causal_weights(pairs, summed, positions, decay)
    key_block = load_block(key_start, rows, channels, N, D, key.stride_n).to(tl.float32)
    grad += tl.dot(pairs, key_block, input_precision=STATE_PRECISION)
    store_block(grad_query_start, rows, channels, N, D, grad_query.stride_n, grad)
    if decay is not None:
        query_block = load_block(query_start, rows, channels, N, D, query.stride_n).to(tl.float32)
        tl.store(moved + item_64 * N + rows, tl.sum(query_block * grad, axis=1), mask=rows < N)


@triton.jit
def key_kernel(
    query,
    key,
    value,
    grad_out,
    share,
    extra,
    decay,
    grad_states,
    grad_sums,
    grad_key,
    moved,
    sizes,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
    NORMALIZE: tl.constexpr,
    PRECISION: tl.constexpr,
    STATE_PRECISION: tl.constexpr,
):
    """One program per chunk of one head of one item; `moved` gets key times its gradient."""
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
    grad_out_start = head_of(grad_out, batch_64, head_64)
    grad_key_start = head_of(grad_key, batch_64, head_64)
    # The state after this chunk is the one before the next.
    grad_states += (item_64 * (CHUNKS + 1) + chunk + 1) * D * E
    if decay is not None:
        decay += item_64 * N
    positions = tl.arange(0, BLOCK_T)
    rows = chunk * BLOCK_T + positions
    channels = tl.arange(0, BLOCK_D)
    summed, whole = load_decay(decay, rows, N, BLOCK_T)
    pairs = tl.zeros((BLOCK_T, BLOCK_T), tl.float32)
    grad = tl.zeros((BLOCK_T, BLOCK_D), tl.float32)
    for start in range(0, E, BLOCK_S):
        columns = start + tl.arange(0, BLOCK_S)
        value_block = load_block(value_start, rows, columns, N, E, value.stride_n)
        grad_block = load_block(grad_out_start, rows, columns, N, E, grad_out.stride_n)
        grad_state = load_block(grad_states, channels, columns, D, E, E)
        pairs += tl.dot(grad_block, tl.trans(value_block), input_precision=PRECISION)
        wide_value = value_block.to(tl.float32)
        grad += tl.dot(wide_value, tl.trans(grad_state), input_precision=STATE_PRECISION)
    if NORMALIZE:
        weight = tl.load(share + item_64 * N + rows, mask=rows < N, other=0.0)
        more = tl.load(extra + item_64 * N + rows, mask=rows < N, other=0.0)
        after = tl.load(
            grad_sums + (item_64 * (CHUNKS + 1) + chunk + 1) * D + channels,
            mask=channels < D,
            other=0.0,
        )
        pairs = pairs * weight[:, None] + more[:, None]
        grad += after[None, :]
    if decay is not None:
        grad *= tl.exp(whole - summed)[:, None]
    pairs = causal_weights(pairs, summed, positions, decay)
    query_block = load_block(query_start, rows, channels, N, D, query.stride_n).to(tl.float32)
    grad += tl.dot(tl.trans(pairs), query_block, input_precision=STATE_PRECISION)
    store_block(grad_key_start, rows, channels, N, D, grad_key.stride_n, grad)
    if decay is not None:
        key_block = load_block(key_start, rows, channels, N, D, key.stride_n).to(tl.float32)
        tl.store(moved + item_64 * N + rows, tl.sum(key_block * grad, axis=1), mask=rows < N)


@triton.jit
def value_kernel(
    query,
    key,
    grad_out,
    share,
    decay,
    grad_states,
    grad_value,
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
    grad_out_start = head_of(grad_out, batch_64, head_64)
    grad_value_start = head_of(grad_value, batch_64, head_64)
    grad_states += (item_64 * (CHUNKS + 1) + chunk + 1) * D * E
    if decay is not None:
        decay += item_64 * N
    positions = tl.arange(0, BLOCK_T)
    rows = chunk * BLOCK_T + positions
    channels = tl.arange(0, BLOCK_D)
    summed, whole = load_decay(decay, rows, N, BLOCK_T)
    query_block = load_block(query_start, rows, channels, N, D, query.stride_n)
    key_block = load_block(key_start, rows, channels, N, D, key.stride_n)
    scores = tl.dot(query_block, tl.trans(key_block), input_precision=PRECISION)
    scores = causal_weights(scores, summed, positions, decay)
    if NORMALIZE:
        weight = tl.load(share + item_64 * N + rows, mask=rows < N, other=0.0)
        scores *= weight[:, None]
    wide_key = key_block.to(tl.float32)
    if decay is not None:
        wide_key *= tl.exp(whole - summed)[:, None]
    for start in range(0, E, BLOCK_S):
        columns = start + tl.arange(0, BLOCK_S)
        grad_block = load_block(grad_out_start, rows, columns, N, E, grad_out.stride_n).to(
            tl.float32
        )
        grad_state = load_block(grad_states, channels, columns, D, E, E)
        block = tl.dot(tl.trans(scores), grad_block, input_precision=STATE_PRECISION)
        block += tl.dot(wide_key, grad_state, input_precision=STATE_PRECISION)
        store_block(grad_value_start, rows, columns, N, E, grad_value.stride_n, block)
