"""The forward kernel: online softmax over blocks of keys."""

import triton
import triton.language as tl

from headway.core.ops.attention.triton.tile import finish_scores, key_count
from headway.core.ops.kernels.rows import LOG2E, load_rows, store_rows


@triton.jit
def forward_kernel(
    query,
    key,
    value,
    bias,
    lengths,
    out,
    lse,
    scale_log2,
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
    stride_out_b,
    stride_out_h,
    stride_out_t,
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
    """One program per block of queries of one head of one item.

    Source:
        Dao 2023, https://arxiv.org/abs/2307.08691, algorithm 1.
    """
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
    out += batch_64 * stride_out_b + head_64 * stride_out_h
    lse += (batch_64 * H + head_64) * T
    if HAS_BIAS:
        bias += batch_64 * stride_bias_b + head_64 * stride_bias_h

    count = key_count(lengths, batch, S, HAS_LENGTHS)
    end = count
    if CAUSAL:
        end = tl.minimum(count, tl.maximum(start_t + BLOCK_T + shift, 0))
    rows = start_t + tl.arange(0, BLOCK_T)
    query_block = load_rows(query, rows, T, stride_query_t, D, BLOCK_D)
    top = tl.full((BLOCK_T,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_T,), tl.float32)
    sums = tl.zeros((BLOCK_T, BLOCK_D), tl.float32)
    for start_s in range(0, end, BLOCK_S):
        columns = start_s + tl.arange(0, BLOCK_S)
        key_block = load_rows(key, columns, count, stride_key_s, D, BLOCK_D)
        scores = finish_scores(
            tl.dot(query_block, tl.trans(key_block), input_precision=PRECISION),
            bias,
            rows[:, None],
            columns[None, :],
            T,
            count,
            shift,
            scale_log2,
            stride_bias_t,
            stride_bias_s,
            HAS_BIAS,
            CAUSAL,
        )
        new_top = tl.maximum(top, tl.max(scores, axis=1))
        # A row that has seen no key yet has top = -inf, and -inf - -inf is not a number.
        base = tl.where(new_top == float("-inf"), 0.0, new_top)
        weights = tl.exp2(scores - base[:, None])
        decay = tl.exp2(top - base)
        total = total * decay + tl.sum(weights, axis=1)
        value_block = load_rows(value, columns, count, stride_value_s, D, BLOCK_D)
        sums = sums * decay[:, None]
        sums += tl.dot(weights.to(value_block.dtype), value_block, input_precision=PRECISION)
        top = new_top
    empty = total == 0.0
    total = tl.where(empty, 1.0, total)
    store_rows(out, rows, T, stride_out_t, sums / total[:, None], D, BLOCK_D)
    tl.store(
        lse + rows,
        tl.where(empty, float("-inf"), (top + tl.log2(total)) / LOG2E),
        mask=rows < T,
    )
