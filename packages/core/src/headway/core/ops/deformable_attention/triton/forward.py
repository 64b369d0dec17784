"""The forward kernel: a block of queries of one head gathers its points one after the other."""

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
def forward_kernel(
    value,
    locations,
    weights,
    levels,
    out,
    Q,
    H,
    points,
    points_per_level,
    stride_value_b,
    stride_value_s,
    stride_value_h,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr,
):
    """One program per block of queries, head and item; `points` counts those of all levels."""
    blocks = tl.cdiv(Q, BLOCK_T)
    program = tl.program_id(0)
    queries = (program % blocks) * BLOCK_T + tl.arange(0, BLOCK_T)
    head = ((program // blocks) % H).to(tl.int64)
    batch = (program // (blocks * H)).to(tl.int64)
    there = queries < Q
    first_row = batch * Q * H + head
    tokens = value + batch * stride_value_b + head * stride_value_h
    total = tl.zeros((BLOCK_T, BLOCK_D), tl.float32)
    for point in range(points):
        rows, columns, first = load_level(levels, point // points_per_level)
        numbers = (first_row + queries * H) * points + point
        left, upper, x, y = load_positions(locations, numbers, there, rows, columns)
        weight = tl.load(weights + numbers, mask=there, other=0.0).to(tl.float32)
        level = tokens + first.to(tl.int64) * stride_value_s
        for corner in tl.static_range(4):  # pyright: ignore[reportGeneralTypeIssues]
            token = corner_tokens(left, upper, rows, columns, corner % 2, corner // 2)
            found = load_rows(level, token, rows * columns, stride_value_s, D, BLOCK_D)
            counts = share(x, corner % 2) * share(y, corner // 2) * weight
            total += counts[:, None] * found.to(tl.float32)
    store_rows(out + first_row * D, queries, Q, H * D, total, D, BLOCK_D)
