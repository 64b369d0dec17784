"""Largest minus mean score of each query, against keys that are read where they lie."""

import triton
import triton.language as tl

from headway.core.ops.kernels.rows import head_of, load_rows


@triton.jit
def measure_kernel(
    query,
    key,
    sample,
    sample_mask,
    counts,
    out,
    H,
    T,
    U,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One program per block of queries of one head of one item."""
    blocks = tl.cdiv(T, BLOCK_T)
    program = tl.program_id(0)
    start_t = (program % blocks) * BLOCK_T
    head = (program // blocks) % H
    batch = program // (blocks * H)
    head_64, batch_64 = head.to(tl.int64), batch.to(tl.int64)
    key_start = head_of(key, batch_64, head_64)
    sample += batch_64 * U
    if sample_mask is not None:
        sample_mask += batch_64 * U
    rows = start_t + tl.arange(0, BLOCK_T)
    columns = tl.arange(0, BLOCK_D)
    query_block = load_rows(head_of(query, batch_64, head_64), rows, T, query.stride_n, D, BLOCK_D)
    highest = tl.full((BLOCK_T,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_T,), tl.float32)
    for start_u in range(0, U, BLOCK_S):
        ranks = start_u + tl.arange(0, BLOCK_S)
        counted = ranks < U
        positions = tl.load(sample + ranks, mask=counted, other=0)
        key_block = tl.load(
            key_start + positions[:, None] * key.stride_n + columns[None, :],
            mask=counted[:, None] & (columns < D)[None, :],
            other=0.0,
        )
        if sample_mask is not None:
            counted = counted & (tl.load(sample_mask + ranks, mask=counted, other=0) != 0)
        scores = tl.dot(query_block, tl.trans(key_block), input_precision=PRECISION)
        total += tl.sum(tl.where(counted[None, :], scores, 0.0), axis=1)
        scores = tl.where(counted[None, :], scores, float("-inf"))
        highest = tl.maximum(highest, tl.max(scores, axis=1))
    found = highest - total / tl.load(counts + batch)
    tl.store(out + (batch_64 * H + head_64) * T + rows, found, mask=rows < T)
