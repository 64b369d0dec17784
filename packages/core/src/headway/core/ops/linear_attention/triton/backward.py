"""The kernels of the backward pass: a chunk's gradients from the states on either side of it."""

import triton
import triton.language as tl

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
    H,
    N,
    CHUNKS,
    E,
    stride_query_b,
    stride_query_h,
    stride_query_n,
    stride_key_b,
    stride_key_h,
    stride_key_n,
    stride_value_b,
    stride_value_h,
    stride_value_n,
    stride_grad_out_b,
    stride_grad_out_h,
    stride_grad_out_n,
    stride_grad_query_b,
    stride_grad_query_h,
    stride_grad_query_n,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
    HAS_DECAY: tl.constexpr,
    NORMALIZE: tl.constexpr,
    PRECISION: tl.constexpr,
    STATE_PRECISION: tl.constexpr,
):
    """One program per chunk of one head of one item; `moved` gets query times its gradient."""
    program = tl.program_id(0)
    chunk = program % CHUNKS
    item = program // CHUNKS
    head_64, batch_64, item_64 = (
        (item % H).to(tl.int64),
        (item // H).to(tl.int64),
        item.to(tl.int64),
    )
    query += batch_64 * stride_query_b + head_64 * stride_query_h
    key += batch_64 * stride_key_b + head_64 * stride_key_h
    value += batch_64 * stride_value_b + head_64 * stride_value_h
    grad_out += batch_64 * stride_grad_out_b + head_64 * stride_grad_out_h
    grad_query += batch_64 * stride_grad_query_b + head_64 * stride_grad_query_h
    states += (item_64 * (CHUNKS + 1) + chunk) * D * E
    if HAS_DECAY:
        decay += item_64 * N
    places = tl.arange(0, BLOCK_T)
    rows = chunk * BLOCK_T + places
    channels = tl.arange(0, BLOCK_D)
    summed, _ = load_decay(decay, rows, N, HAS_DECAY, BLOCK_T)
    pairs = tl.zeros((BLOCK_T, BLOCK_T), tl.float32)
    grad = tl.zeros((BLOCK_T, BLOCK_D), tl.float32)
    for start in range(0, E, BLOCK_S):
        columns = start + tl.arange(0, BLOCK_S)
        value_block = load_block(value, rows, columns, N, E, stride_value_n)
        grad_block = load_block(grad_out, rows, columns, N, E, stride_grad_out_n)
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
    if HAS_DECAY:
        grad *= tl.exp(summed)[:, None]
    pairs = causal_weights(pairs, summed, places, HAS_DECAY)
    key_block = load_block(key, rows, channels, N, D, stride_key_n).to(tl.float32)
    grad += tl.dot(pairs, key_block, input_precision=STATE_PRECISION)
    store_block(grad_query, rows, channels, N, D, stride_grad_query_n, grad)
    if HAS_DECAY:
        query_block = load_block(query, rows, channels, N, D, stride_query_n).to(tl.float32)
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
    H,
    N,
    CHUNKS,
    E,
    stride_query_b,
    stride_query_h,
    stride_query_n,
    stride_key_b,
    stride_key_h,
    stride_key_n,
    stride_value_b,
    stride_value_h,
    stride_value_n,
    stride_grad_out_b,
    stride_grad_out_h,
    stride_grad_out_n,
    stride_grad_key_b,
    stride_grad_key_h,
    stride_grad_key_n,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
    HAS_DECAY: tl.constexpr,
    NORMALIZE: tl.constexpr,
    PRECISION: tl.constexpr,
    STATE_PRECISION: tl.constexpr,
):
    """One program per chunk of one head of one item; `moved` gets key times its gradient."""
    program = tl.program_id(0)
    chunk = program % CHUNKS
    item = program // CHUNKS
    head_64, batch_64, item_64 = (
        (item % H).to(tl.int64),
        (item // H).to(tl.int64),
        item.to(tl.int64),
    )
    query += batch_64 * stride_query_b + head_64 * stride_query_h
    key += batch_64 * stride_key_b + head_64 * stride_key_h
    value += batch_64 * stride_value_b + head_64 * stride_value_h
    grad_out += batch_64 * stride_grad_out_b + head_64 * stride_grad_out_h
    grad_key += batch_64 * stride_grad_key_b + head_64 * stride_grad_key_h
    # The state after this chunk is the one before the next.
    grad_states += (item_64 * (CHUNKS + 1) + chunk + 1) * D * E
    if HAS_DECAY:
        decay += item_64 * N
    places = tl.arange(0, BLOCK_T)
    rows = chunk * BLOCK_T + places
    channels = tl.arange(0, BLOCK_D)
    summed, whole = load_decay(decay, rows, N, HAS_DECAY, BLOCK_T)
    pairs = tl.zeros((BLOCK_T, BLOCK_T), tl.float32)
    grad = tl.zeros((BLOCK_T, BLOCK_D), tl.float32)
    for start in range(0, E, BLOCK_S):
        columns = start + tl.arange(0, BLOCK_S)
        value_block = load_block(value, rows, columns, N, E, stride_value_n)
        grad_block = load_block(grad_out, rows, columns, N, E, stride_grad_out_n)
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
    if HAS_DECAY:
        grad *= tl.exp(whole - summed)[:, None]
    pairs = causal_weights(pairs, summed, places, HAS_DECAY)
    query_block = load_block(query, rows, channels, N, D, stride_query_n).to(tl.float32)
    grad += tl.dot(tl.trans(pairs), query_block, input_precision=STATE_PRECISION)
    store_block(grad_key, rows, channels, N, D, stride_grad_key_n, grad)
    if HAS_DECAY:
        key_block = load_block(key, rows, channels, N, D, stride_key_n).to(tl.float32)
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
    H,
    N,
    CHUNKS,
    E,
    stride_query_b,
    stride_query_h,
    stride_query_n,
    stride_key_b,
    stride_key_h,
    stride_key_n,
    stride_grad_out_b,
    stride_grad_out_h,
    stride_grad_out_n,
    stride_grad_value_b,
    stride_grad_value_h,
    stride_grad_value_n,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
    HAS_DECAY: tl.constexpr,
    NORMALIZE: tl.constexpr,
    PRECISION: tl.constexpr,
    STATE_PRECISION: tl.constexpr,
):
    """One program per chunk of one head of one item."""
    program = tl.program_id(0)
    chunk = program % CHUNKS
    item = program // CHUNKS
    head_64, batch_64, item_64 = (
        (item % H).to(tl.int64),
        (item // H).to(tl.int64),
        item.to(tl.int64),
    )
    query += batch_64 * stride_query_b + head_64 * stride_query_h
    key += batch_64 * stride_key_b + head_64 * stride_key_h
    grad_out += batch_64 * stride_grad_out_b + head_64 * stride_grad_out_h
    grad_value += batch_64 * stride_grad_value_b + head_64 * stride_grad_value_h
    grad_states += (item_64 * (CHUNKS + 1) + chunk + 1) * D * E
    if HAS_DECAY:
        decay += item_64 * N
    places = tl.arange(0, BLOCK_T)
    rows = chunk * BLOCK_T + places
    channels = tl.arange(0, BLOCK_D)
    summed, whole = load_decay(decay, rows, N, HAS_DECAY, BLOCK_T)
    query_block = load_block(query, rows, channels, N, D, stride_query_n)
    key_block = load_block(key, rows, channels, N, D, stride_key_n)
    scores = tl.dot(query_block, tl.trans(key_block), input_precision=PRECISION)
    scores = causal_weights(scores, summed, places, HAS_DECAY)
    if NORMALIZE:
        weight = tl.load(share + item_64 * N + rows, mask=rows < N, other=0.0)
        scores *= weight[:, None]
    wide_key = key_block.to(tl.float32)
    if HAS_DECAY:
        wide_key *= tl.exp(whole - summed)[:, None]
    for start in range(0, E, BLOCK_S):
        columns = start + tl.arange(0, BLOCK_S)
        grad_block = load_block(grad_out, rows, columns, N, E, stride_grad_out_n).to(tl.float32)
        grad_state = load_block(grad_states, channels, columns, D, E, E)
        block = tl.dot(tl.trans(scores), grad_block, input_precision=STATE_PRECISION)
        block += tl.dot(wide_key, grad_state, input_precision=STATE_PRECISION)
        store_block(grad_value, rows, columns, N, E, stride_grad_value_n, block)
