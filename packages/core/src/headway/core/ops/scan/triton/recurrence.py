"""The associative scan: within a block of time by a tree, between blocks by what was carried."""

import triton
import triton.language as tl


@triton.jit
def both(decay_first, added_first, decay_second, added_second):
    """Two steps as one."""
    return decay_first * decay_second, decay_second * added_first + added_second


@triton.jit
def recurrence_kernel(
    decay,
    added,
    out,
    M,
    N,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
    REVERSE: tl.constexpr,
):
    """One program per BLOCK_T rows; BLOCK_S positions at a time."""
    rows = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)
    start = rows.to(tl.int64)[:, None] * N
    carried = tl.zeros((BLOCK_T,), tl.float32)
    ranks = tl.arange(0, BLOCK_S)
    for first in range(0, N, BLOCK_S):
        positions = first + ranks
        mask = (rows < M)[:, None] & (positions < N)[None, :]
        if REVERSE:
            positions = N - 1 - positions
        here = start + positions[None, :]
        a = tl.load(decay + here, mask=mask, other=1.0).to(tl.float32)
        b = tl.load(added + here, mask=mask, other=0.0).to(tl.float32)
        a, b = tl.associative_scan((a, b), 1, both)
        found = b + a * carried[:, None]  # pyright: ignore[reportArgumentType, reportCallIssue]
        tl.store(out + here, found.to(out.dtype.element_ty), mask=mask)
        carried = tl.sum(tl.where(ranks[None, :] == BLOCK_S - 1, found, 0.0), axis=1)
