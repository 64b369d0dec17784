"""The part of a score matrix that one program works on; shared by all kernels."""

import triton
import triton.language as tl

from headway.core.ops.kernels.rows import LOG2E


@triton.jit
def key_count(lengths, batch, S, HAS_LENGTHS: tl.constexpr):
    """How many keys exist for an item, within 0..S."""
    count = S
    if HAS_LENGTHS:
        count = tl.minimum(tl.maximum(tl.load(lengths + batch).to(tl.int32), 0), S)
    return count


@triton.jit
def finish_scores(
    products,
    bias,
    queries,
    keys,
    T,
    count,
    shift,
    scale_log2,
    stride_bias_t,
    stride_bias_s,
    HAS_BIAS: tl.constexpr,
    CAUSAL: tl.constexpr,
):
    """Scores in units of log 2 from the raw products; minus infinity where a key is hidden.

    `queries` and `keys` are numbers that broadcast to the products, in either orientation.
    """
    scores = products * scale_log2
    visible = keys < count
    if CAUSAL:
        visible = visible & (keys <= queries + shift)
    if HAS_BIAS:
        places = bias + queries * stride_bias_t + keys * stride_bias_s
        extra = tl.load(places, mask=visible & (queries < T), other=0.0)
        scores += extra.to(tl.float32) * LOG2E
    return tl.where(visible, scores, float("-inf"))
