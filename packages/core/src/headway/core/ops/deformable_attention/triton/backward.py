"""The backward kernels, without atomics.

The first one is the forward pass again: each query owns the gradients of its positions and weights. It also
notes every contribution to the gradient of a value, two numbers each: which row of the values it goes to,
and by how much the gradient of the query's output counts in it. Sorted by row, the contributions to a row
lie side by side; the second kernel adds them up, each row in one program and in a fixed order.
"""

import triton
import triton.language as tl

from headway.core.ops.deformable_attention.triton.positions import (
    corner_tokens,
    load_level,
    load_positions,
    share,
)
from headway.core.ops.kernels.rows import load_rows, store_rows


@triton.jit
def gradient_kernel(
    grad,
    value,
    locations,
    weights,
    levels,
    grad_locations,
    grad_weights,
    keys,
    coefficients,
    nowhere,
    Q,
    H,
    S,
    points,
    points_per_level,
    stride_value_b,
    stride_value_s,
    stride_value_h,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr,
):
    """One program per block of queries, head and item.

    `keys` and `coefficients` are (B, H, points, 4, Q); the key of a corner outside of the map is `nowhere`.
    """
    blocks = tl.cdiv(Q, BLOCK_T)
    program = tl.program_id(0)
    queries = (program % blocks) * BLOCK_T + tl.arange(0, BLOCK_T)
    head = ((program // blocks) % H).to(tl.int64)
    batch = (program // (blocks * H)).to(tl.int64)
    there = queries < Q
    first_row = batch * Q * H + head
    tokens = value + batch * stride_value_b + head * stride_value_h
    grad_block = load_rows(grad + first_row * D, queries, Q, H * D, D, BLOCK_D).to(tl.float32)
    for point in range(points):
        rows, columns, first = load_level(levels, point // points_per_level)
        numbers = (first_row + queries * H) * points + point
        left, upper, x, y = load_positions(locations, numbers, there, rows, columns)
        weight = tl.load(weights + numbers, mask=there, other=0.0).to(tl.float32)
        level = tokens + first.to(tl.int64) * stride_value_s
        first_key = (batch * H + head) * S + first
        first_note = ((batch * H + head) * points + point) * 4 * Q
        grad_weight = tl.zeros((BLOCK_T,), tl.float32)
        grad_x = tl.zeros((BLOCK_T,), tl.float32)
        grad_y = tl.zeros((BLOCK_T,), tl.float32)
        for corner in tl.static_range(4):  # pyright: ignore[reportGeneralTypeIssues]
            token = corner_tokens(left, upper, rows, columns, corner % 2, corner // 2)
            found = load_rows(level, token, rows * columns, stride_value_s, D, BLOCK_D)
            product = tl.sum(grad_block * found.to(tl.float32), axis=1)
            share_x, share_y = share(x, corner % 2), share(y, corner // 2)
            grad_weight += share_x * share_y * product
            grad_x += (2 * (corner % 2) - 1) * share_y * product
            grad_y += (2 * (corner // 2) - 1) * share_x * product
            key = tl.where(token < rows * columns, first_key + token, nowhere)
            notes = first_note + corner * Q + queries
            tl.store(keys + notes, key.to(keys.dtype.element_ty), mask=there)
            tl.store(coefficients + notes, share_x * share_y * weight, mask=there)
        grad_x *= weight * columns.to(tl.float32)
        grad_y *= weight * rows.to(tl.float32)
        kind = grad_locations.dtype.element_ty
        tl.store(grad_locations + 2 * numbers, grad_x.to(kind), mask=there)
        tl.store(grad_locations + 2 * numbers + 1, grad_y.to(kind), mask=there)
        grad_weight = grad_weight.to(grad_weights.dtype.element_ty)
        tl.store(grad_weights + numbers, grad_weight, mask=there)


@triton.jit
def value_kernel(
    grad,
    order,
    bounds,
    coefficients,
    grad_value,
    Q,
    H,
    S,
    points,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
):
    """One program per block of tokens, head and item, which adds up BLOCK_S contributions at a time.

    `order` numbers the contributions by rising keys; those to row r begin at `bounds[r]` in it.
    """
    blocks = tl.cdiv(S, BLOCK_T)
    program = tl.program_id(0)
    tokens = (program % blocks) * BLOCK_T + tl.arange(0, BLOCK_T)
    head = ((program // blocks) % H).to(tl.int64)
    batch = (program // (blocks * H)).to(tl.int64)
    there = tokens < S
    row = (batch * H + head) * S + tokens
    begin = tl.load(bounds + row, mask=there, other=0)
    count = (tl.load(bounds + row + 1, mask=there, other=0) - begin).to(tl.int32)
    first_note = (batch * H + head) * points * 4 * Q
    features = tl.arange(0, BLOCK_D)
    grads = grad + (batch * Q * H + head) * D + features[None, None, :]
    total = tl.zeros((BLOCK_T, BLOCK_D), tl.float32)
    longest = tl.max(count, axis=0)
    for start in range(0, longest, BLOCK_S):  # pyright: ignore[reportArgumentType]
        step = start + tl.arange(0, BLOCK_S)
        mask = step[None, :] < count[:, None]
        note = tl.load(order + begin[:, None] + step[None, :], mask=mask, other=0)
        counts = tl.load(coefficients + note, mask=mask, other=0.0)
        query = (note - first_note).to(tl.int32) % Q
        wide = mask[:, :, None]
        if D != BLOCK_D:
            wide = wide & (features < D)[None, None, :]
        found = tl.load(grads + (query * H * D)[:, :, None], mask=wide, other=0.0)
        total += tl.sum(counts[:, :, None] * found.to(tl.float32), axis=1)
    store_rows(grad_value + (batch * S * H + head) * D, tokens, S, H * D, total, D, BLOCK_D)
