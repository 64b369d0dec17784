"""The gradient of the bias, summed over the axes along which it was broadcast.

A program owns one tile of the bias and visits, in a fixed order, every tile of scores that read it;
where few tiles are read often, a fixed number of programs share one and leave partial sums.
"""

import triton
import triton.language as tl

from headway.core.ops.attention.triton.backward import load_statistics
from headway.core.ops.attention.triton.tile import finish_scores, key_count
from headway.core.ops.kernels.rows import LOG2E, load_rows


@triton.jit
def bias_kernel(
    query,
    key,
    value,
    bias,
    lengths,
    grad_out,
    lse,
    delta,
    partial,
    scale,
    shift,
    B,
    H,
    T,
    S,
    bias_b,
    bias_h,
    visits,
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
    GROUPS: tl.constexpr,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
    ONE_T: tl.constexpr,
    ONE_S: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_LENGTHS: tl.constexpr,
    CAUSAL: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One program per share of the visits to one tile of the bias.

    `bias_b` and `bias_h` are the sizes of the bias, B or 1 and H or 1; ONE_T and ONE_S say that it
    has a single row or column; `visits` is how many tiles of scores each share holds.
    """
    blocks_t = tl.cdiv(T, BLOCK_T)
    blocks_s = tl.cdiv(S, BLOCK_S)
    own_t = 1 if ONE_T else blocks_t
    own_s = 1 if ONE_S else blocks_s
    program = tl.program_id(0)
    tile_s = program % own_s
    tile_t = (program // own_s) % own_t
    tile_h = (program // (own_s * own_t)) % bias_h
    tile_b = (program // (own_s * own_t * bias_h)) % bias_b
    share = program // (own_s * own_t * bias_h * bias_b)
    loop_s = blocks_s // own_s if ONE_S else 1
    loop_t = blocks_t // own_t if ONE_T else 1
    loop_h = H // bias_h
    total = (B // bias_b) * loop_h * loop_t * loop_s
    sums = tl.zeros((BLOCK_T, BLOCK_S), tl.float32)
    for visit in range(share * visits, tl.minimum((share + 1) * visits, total)):
        block_s = tile_s + visit % loop_s
        block_t = tile_t + (visit // loop_s) % loop_t
        # Either the tile names the head and the visit says 0, or the other way round.
        head = tile_h + (visit // (loop_s * loop_t)) % loop_h
        batch = tile_b + visit // (loop_s * loop_t * loop_h)
        head_64, batch_64 = head.to(tl.int64), batch.to(tl.int64)
        kv_head_64 = (head // GROUPS).to(tl.int64)
        rows = block_t * BLOCK_T + tl.arange(0, BLOCK_T)
        columns = block_s * BLOCK_S + tl.arange(0, BLOCK_S)
        count = key_count(lengths, batch, S, HAS_LENGTHS)
        query_head = query + batch_64 * stride_query_b + head_64 * stride_query_h
        key_head = key + batch_64 * stride_key_b + kv_head_64 * stride_key_h
        value_head = value + batch_64 * stride_value_b + kv_head_64 * stride_value_h
        grad_head = grad_out + batch_64 * stride_grad_out_b + head_64 * stride_grad_out_h
        bias_head = bias + batch_64 * stride_bias_b + head_64 * stride_bias_h
        line = (batch_64 * H + head_64) * T
        sums_t, deltas = load_statistics(lse + line, delta + line, rows, T)
        query_block = load_rows(query_head, rows, T, stride_query_t, D, BLOCK_D)
        key_block = load_rows(key_head, columns, count, stride_key_s, D, BLOCK_D)
        scores = finish_scores(
            tl.dot(query_block, tl.trans(key_block), input_precision=PRECISION),
            bias_head,
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
        weights = tl.exp2(scores - sums_t[:, None])
        grad_block = load_rows(grad_head, rows, T, stride_grad_out_t, D, BLOCK_D)
        value_block = load_rows(value_head, columns, count, stride_value_s, D, BLOCK_D)
        grad_weights = tl.dot(grad_block, tl.trans(value_block), input_precision=PRECISION)
        sums += weights * (grad_weights - deltas[:, None])

    width_t = 1 if ONE_T else T
    width_s = 1 if ONE_S else S
    plane = (share * bias_b + tile_b) * bias_h + tile_h
    partial += plane.to(tl.int64) * width_t * width_s
    rows = tile_t * BLOCK_T + tl.arange(0, BLOCK_T)
    columns = tile_s * BLOCK_S + tl.arange(0, BLOCK_S)
    if ONE_T and ONE_S:
        tl.store(partial, tl.sum(tl.sum(sums, axis=1), axis=0))
    elif ONE_T:
        tl.store(partial + columns, tl.sum(sums, axis=0), mask=columns < S)
    elif ONE_S:
        tl.store(partial + rows, tl.sum(sums, axis=1), mask=rows < T)
    else:
        places = partial + rows[:, None] * S + columns[None, :]
        tl.store(places, sums, mask=(rows < T)[:, None] & (columns < S)[None, :])
