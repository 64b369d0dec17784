"""The forward kernel: windows of one head, each as a single tile."""

import triton
import triton.language as tl

from headway.core.ops.kernels.rows import LOG2E
from headway.core.ops.window_attention.triton.tile import (
    hide,
    load_bias,
    load_features,
    load_padded,
    load_tokens,
    store_features,
)


@triton.jit
def forward_kernel(
    projected,
    bias,
    padding,
    positions,
    regions,
    out,
    lse,
    scale,
    windows,
    heads,
    tokens,
    total,
    visits,
    stride_b,
    stride_n,
    S: tl.constexpr,
    D: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One program per head and share of the windows of all items; a share holds `visits` windows."""
    program = tl.program_id(0)
    # Heads of one token lie side by side in memory, so programs that run together read together.
    head = program % heads
    begin = program // heads * visits
    width = heads * D
    slots = tl.arange(0, BLOCK_T)
    biases = tl.zeros((BLOCK_T, BLOCK_T), tl.float32)
    if bias is not None:
        biases = load_bias(bias, head, S, BLOCK_T)
    for visit in range(begin, tl.minimum(begin + visits, total)):
        batch, window = (visit // windows).to(tl.int64), visit % windows
        members = load_tokens(positions, window, S, BLOCK_T)
        start = projected + batch * stride_b
        query = load_features(start + head * D, members, stride_n, D, BLOCK_D)
        key = load_padded(start, padding, width + head * D, members, stride_n, D, BLOCK_D)
        scores = tl.dot(query, tl.trans(key), input_precision=PRECISION) * (scale * LOG2E)
        if bias is not None:
            scores += biases
        scores = hide(scores, regions, window, S, BLOCK_T)
        largest = tl.max(scores, axis=1, keep_dims=True)
        weights = tl.exp2(scores - largest)
        sums = tl.sum(weights, axis=1, keep_dims=True)
        value = load_padded(start, padding, 2 * width + head * D, members, stride_n, D, BLOCK_D)
        mixed = tl.dot(weights.to(value.dtype), value, input_precision=PRECISION) / sums
        store_features(out + batch * tokens * width + head * D, members, width, mixed, D, BLOCK_D)
        line = lse + ((batch * windows + window) * heads + head) * S
        norms = (largest + tl.log2(sums)) / LOG2E
        tl.store(line + slots[:, None], norms, mask=(slots < S)[:, None])
