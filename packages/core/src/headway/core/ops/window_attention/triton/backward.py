"""The backward kernel: all gradients of windows of one head, without atomics.

Every token belongs to one window, so its rows of the gradient have one owner. What windows share, bias and
padding, is added up over the windows of a program and written as that program's partial sum.
"""

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
def backward_kernel(
    grad_out,
    projected,
    bias,
    padding,
    positions,
    regions,
    lse,
    grad_projected,
    partial_bias,
    partial_padding,
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
    """One program per head and share of the windows of all items; a share holds `visits` windows.

    `bias` is (H, BLOCK_T, BLOCK_T), `partial_bias` (shares, H, BLOCK_T, BLOCK_T), and `partial_padding`
    zeros, (shares, 2, H, D), for keys and values: the outputs of positions without a token are dropped, so
    their queries have no gradient.
    """
    program = tl.program_id(0)
    head, share = program % heads, program // heads
    begin = share * visits
    width = heads * D
    slots = tl.arange(0, BLOCK_T)
    columns = tl.arange(0, BLOCK_D)
    inside = columns < D
    bias_sums = tl.zeros((BLOCK_T, BLOCK_T), tl.float32)
    end = tl.minimum(begin + visits, total)
    # Moved out of the loop, masks and addresses would fill the registers.
    for visit in tl.range(begin, end, disable_licm=True):  # pyright: ignore[reportGeneralTypeIssues]
        batch, window = (visit // windows).to(tl.int64), visit % windows
        members = load_tokens(positions, window, S, BLOCK_T)
        start = projected + batch * stride_b
        query = load_features(start + head * D, members, stride_n, D, BLOCK_D)
        key = load_padded(start, padding, width + head * D, members, stride_n, D, BLOCK_D)
        scores = tl.dot(query, tl.trans(key), input_precision=PRECISION) * (scale * LOG2E)
        if bias is not None:
            # Read again for each window: kept in registers it would push others out.
            scores += load_bias(bias, head, S, BLOCK_T)
        scores = hide(scores, regions, window, S, BLOCK_T)
        line = lse + ((batch * windows + window) * heads + head) * S
        # Queries beyond the window weigh nothing.
        norms = tl.load(line + slots, mask=slots < S, other=float("inf")) * LOG2E
        weights = tl.exp2(scores - norms[:, None])
        value = load_padded(start, padding, 2 * width + head * D, members, stride_n, D, BLOCK_D)
        grad = load_features(
            grad_out + batch * tokens * width + head * D, members, width, D, BLOCK_D
        )
        target = grad_projected + batch * tokens * 3 * width + head * D
        grad_value = tl.dot(tl.trans(weights.to(grad.dtype)), grad, input_precision=PRECISION)
        store_features(target + 2 * width, members, 3 * width, grad_value, D, BLOCK_D)
        grad_weights = tl.dot(grad, tl.trans(value), input_precision=PRECISION)
        deltas = tl.sum(weights * grad_weights, axis=1, keep_dims=True)
        grad_scores = weights * (grad_weights - deltas)
        if bias is not None:
            bias_sums += grad_scores
        narrow = grad_scores.to(key.dtype)
        grad_query = tl.dot(narrow, key, input_precision=PRECISION) * scale
        store_features(target, members, 3 * width, grad_query, D, BLOCK_D)
        grad_key = tl.dot(tl.trans(narrow), query, input_precision=PRECISION) * scale
        store_features(target + width, members, 3 * width, grad_key, D, BLOCK_D)
        if padding is not None:
            empty = (members < 0)[:, None]
            # In memory: as sums in registers every warp would hold them through the whole loop.
            row = partial_padding + share.to(tl.int64) * 2 * width + head * D + columns
            key_sums = tl.sum(tl.where(empty, grad_key, 0.0), axis=0)
            tl.store(row, tl.load(row, mask=inside) + key_sums, mask=inside)
            value_sums = tl.sum(tl.where(empty, grad_value, 0.0), axis=0)
            tl.store(row + width, tl.load(row + width, mask=inside) + value_sums, mask=inside)
            # What one thread has stored the others may read in the next turn.
            tl.debug_barrier()
    if bias is not None:
        plane = partial_bias + program.to(tl.int64) * (BLOCK_T * BLOCK_T)
        pairs = plane + slots[:, None] * BLOCK_T + slots[None, :]
        tl.store(pairs, bias_sums, mask=(slots < S)[:, None])
