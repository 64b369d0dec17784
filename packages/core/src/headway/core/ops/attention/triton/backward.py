"""The backward kernels for queries, keys and values; the one for the bias has its own file.

Each program owns the gradients that it writes and adds them up in a fixed order: no atomics, so
that a second run gives the same bits.
"""

import triton
import triton.language as tl

from headway.core.ops.attention.triton.tile import finish_scores, key_count
from headway.core.ops.kernels.rows import LOG2E, load_rows, store_rows


@triton.jit
def delta_kernel(
    out,
    grad_out,
    grad_lse,
    lse,
    delta,
    H,
    T,
    stride_out_b,
    stride_out_h,
    stride_out_t,
    stride_grad_out_b,
    stride_grad_out_h,
    stride_grad_out_t,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr,
    HAS_GRAD_LSE: tl.constexpr,
):
    """The part of the gradient of the scores that is the same for a whole row."""
    blocks = tl.cdiv(T, BLOCK_T)
    program = tl.program_id(0)
    rows = (program % blocks) * BLOCK_T + tl.arange(0, BLOCK_T)
    head_64 = ((program // blocks) % H).to(tl.int64)
    batch_64 = (program // (blocks * H)).to(tl.int64)
    out += batch_64 * stride_out_b + head_64 * stride_out_h
    grad_out += batch_64 * stride_grad_out_b + head_64 * stride_grad_out_h
    line = (batch_64 * H + head_64) * T
    out_block = load_rows(out, rows, T, stride_out_t, D, BLOCK_D).to(tl.float32)
    grad_block = load_rows(grad_out, rows, T, stride_grad_out_t, D, BLOCK_D).to(tl.float32)
    sums = tl.sum(out_block * grad_block, axis=1)
    if HAS_GRAD_LSE:
        sums -= tl.load(grad_lse + line + rows, mask=rows < T, other=0.0)
    # The log-sum-exp of an empty row is a constant, whatever gradient reaches it.
    empty = tl.load(lse + line + rows, mask=rows < T, other=0.0) == float("-inf")
    tl.store(delta + line + rows, tl.where(empty, 0.0, sums), mask=rows < T)


@triton.jit
def load_statistics(lse, delta, rows, T):
    """Log-sum-exp in units of log 2 and delta; an empty or missing row gets weights of zero."""
    sums = tl.load(lse + rows, mask=rows < T, other=float("-inf"))
    sums = tl.where(sums == float("-inf"), float("inf"), sums * LOG2E)
    return sums, tl.load(delta + rows, mask=rows < T, other=0.0)


@triton.jit
def key_value_kernel(
    query,
    key,
    value,
    bias,
    lengths,
    grad_out,
    lse,
    delta,
    grad_key,
    grad_value,
    scale,
    shift,
    H,
    T,
    S,
    stride_query_b,
    stride_query_h,
    stride_query_t,
    stride_key_b,
    stride_key_h,
    stride_key_s,
    stride_value_b,
    stride_value_h,
    stride_value_s,
    stride_bias_b,
    stride_bias_h,
    stride_bias_t,
    stride_bias_s,
    stride_grad_out_b,
    stride_grad_out_h,
    stride_grad_out_t,
    stride_grad_key_b,
    stride_grad_key_h,
    stride_grad_key_s,
    stride_grad_value_b,
    stride_grad_value_h,
    stride_grad_value_s,
    GROUPS: tl.constexpr,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_LENGTHS: tl.constexpr,
    CAUSAL: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One program per block of keys of one key head; it visits all query heads of the group.

    Source:
        Dao 2023, https://arxiv.org/abs/2307.08691, algorithm 2.
    """
    blocks = tl.cdiv(S, BLOCK_S)
    kv_heads = H // GROUPS
    program = tl.program_id(0)
    start_s = (program % blocks) * BLOCK_S
    kv_head = (program // blocks) % kv_heads
    batch = program // (blocks * kv_heads)
    batch_64, kv_head_64 = batch.to(tl.int64), kv_head.to(tl.int64)
    key += batch_64 * stride_key_b + kv_head_64 * stride_key_h
    value += batch_64 * stride_value_b + kv_head_64 * stride_value_h

    count = key_count(lengths, batch, S, HAS_LENGTHS)
    columns = start_s + tl.arange(0, BLOCK_S)
    key_block = load_rows(key, columns, count, stride_key_s, D, BLOCK_D)
    value_block = load_rows(value, columns, count, stride_value_s, D, BLOCK_D)
    key_sums = tl.zeros((BLOCK_S, BLOCK_D), tl.float32)
    value_sums = tl.zeros((BLOCK_S, BLOCK_D), tl.float32)
    first = 0
    if CAUSAL:
        first = (tl.maximum(start_s - shift, 0) // BLOCK_T) * BLOCK_T
    last = T
    if HAS_LENGTHS:
        last = tl.where(start_s < count, T, 0)
    for member in range(GROUPS):
        head_64 = kv_head_64 * GROUPS + member
        query_head = query + batch_64 * stride_query_b + head_64 * stride_query_h
        grad_head = grad_out + batch_64 * stride_grad_out_b + head_64 * stride_grad_out_h
        line = (batch_64 * H + head_64) * T
        bias_head = bias
        if HAS_BIAS:
            bias_head = bias + batch_64 * stride_bias_b + head_64 * stride_bias_h
        for start_t in range(first, last, BLOCK_T):
            rows = start_t + tl.arange(0, BLOCK_T)
            query_block = load_rows(query_head, rows, T, stride_query_t, D, BLOCK_D)
            sums, deltas = load_statistics(lse + line, delta + line, rows, T)
            scores = finish_scores(
                tl.dot(key_block, tl.trans(query_block), input_precision=PRECISION),
                bias_head,
                rows[None, :],
                columns[:, None],
                T,
                count,
                shift,
                scale * LOG2E,
                stride_bias_t,
                stride_bias_s,
                HAS_BIAS,
                CAUSAL,
            )
            weights = tl.exp2(scores - sums[None, :])
            grad_block = load_rows(grad_head, rows, T, stride_grad_out_t, D, BLOCK_D)
            value_sums += tl.dot(
                weights.to(grad_block.dtype), grad_block, input_precision=PRECISION
            )
            grad_weights = tl.dot(value_block, tl.trans(grad_block), input_precision=PRECISION)
            grad_scores = weights * (grad_weights - deltas[None, :])
            key_sums += tl.dot(
                grad_scores.to(query_block.dtype), query_block, input_precision=PRECISION
            )
    grad_key += batch_64 * stride_grad_key_b + kv_head_64 * stride_grad_key_h
    grad_value += batch_64 * stride_grad_value_b + kv_head_64 * stride_grad_value_h
    store_rows(grad_key, columns, S, stride_grad_key_s, key_sums * scale, D, BLOCK_D)
    store_rows(grad_value, columns, S, stride_grad_value_s, value_sums, D, BLOCK_D)


@triton.jit
def query_kernel(
    query,
    key,
    value,
    bias,
    lengths,
    grad_out,
    lse,
    delta,
    grad_query,
    scale,
    shift,
    H,
    T,
    S,
    stride_query_b,
    stride_query_h,
    stride_query_t,
    stride_key_b,
    stride_key_h,
    stride_key_s,
    stride_value_b,
    stride_value_h,
    stride_value_s,
    stride_bias_b,
    stride_bias_h,
    stride_bias_t,
    stride_bias_s,
    stride_grad_out_b,
    stride_grad_out_h,
    stride_grad_out_t,
    stride_grad_query_b,
    stride_grad_query_h,
    stride_grad_query_t,
    GROUPS: tl.constexpr,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_LENGTHS: tl.constexpr,
    CAUSAL: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One program per block of queries of one head of one item."""
    blocks = tl.cdiv(T, BLOCK_T)
    program = tl.program_id(0)
    start_t = (program % blocks) * BLOCK_T
    head = (program // blocks) % H
    batch = program // (blocks * H)
    head_64, batch_64 = head.to(tl.int64), batch.to(tl.int64)
    kv_head_64 = (head // GROUPS).to(tl.int64)
    query += batch_64 * stride_query_b + head_64 * stride_query_h
    key += batch_64 * stride_key_b + kv_head_64 * stride_key_h
    value += batch_64 * stride_value_b + kv_head_64 * stride_value_h
    grad_out += batch_64 * stride_grad_out_b + head_64 * stride_grad_out_h
    grad_query += batch_64 * stride_grad_query_b + head_64 * stride_grad_query_h
    line = (batch_64 * H + head_64) * T
    if HAS_BIAS:
        bias += batch_64 * stride_bias_b + head_64 * stride_bias_h

    count = key_count(lengths, batch, S, HAS_LENGTHS)
    end = count
    if CAUSAL:
        end = tl.minimum(count, tl.maximum(start_t + BLOCK_T + shift, 0))
    rows = start_t + tl.arange(0, BLOCK_T)
    query_block = load_rows(query, rows, T, stride_query_t, D, BLOCK_D)
    grad_block = load_rows(grad_out, rows, T, stride_grad_out_t, D, BLOCK_D)
    sums, deltas = load_statistics(lse + line, delta + line, rows, T)
    query_sums = tl.zeros((BLOCK_T, BLOCK_D), tl.float32)
    for start_s in range(0, end, BLOCK_S):
        columns = start_s + tl.arange(0, BLOCK_S)
        key_block = load_rows(key, columns, count, stride_key_s, D, BLOCK_D)
        value_block = load_rows(value, columns, count, stride_value_s, D, BLOCK_D)
        scores = finish_scores(
            tl.dot(query_block, tl.trans(key_block), input_precision=PRECISION),
            bias,
            rows[:, None],
            columns[None, :],
            T,
            count,
            shift,
            scale * LOG2E,
            stride_bias_t,
            stride_bias_s,
            HAS_BIAS,
            CAUSAL,
        )
        weights = tl.exp2(scores - sums[:, None])
        grad_weights = tl.dot(grad_block, tl.trans(value_block), input_precision=PRECISION)
        grad_scores = weights * (grad_weights - deltas[:, None])
        query_sums += tl.dot(grad_scores.to(key_block.dtype), key_block, input_precision=PRECISION)
    store_rows(grad_query, rows, T, stride_grad_query_t, query_sums * scale, D, BLOCK_D)
