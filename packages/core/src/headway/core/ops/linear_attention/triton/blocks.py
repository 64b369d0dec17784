"""Parts that the kernels share: blocks of matrices and of states, and decay within a chunk."""

from typing import Any, NamedTuple

import triton
import triton.language as tl


class Sizes(NamedTuple):
    """Heads, tokens, chunks of tokens, and the width of values."""

    H: Any
    N: Any
    CHUNKS: Any
    E: Any


@triton.jit
def load_block(start, rows, columns, count, width, stride):
    """A block of a matrix in device memory; zeros beyond `count` rows and `width` columns."""
    mask = (rows < count)[:, None] & (columns < width)[None, :]
    return tl.load(start + rows[:, None] * stride + columns[None, :], mask=mask, other=0.0)


@triton.jit
def store_block(start, rows, columns, count, width, stride, values):
    """The counterpart of `load_block`."""
    mask = (rows < count)[:, None] & (columns < width)[None, :]
    tl.store(
        start + rows[:, None] * stride + columns[None, :],
        values.to(start.dtype.element_ty),
        mask=mask,
    )


@triton.jit
def load_decay(decay, rows, count, BLOCK_T: tl.constexpr):
    """Logarithms of decay, summed from the start of the chunk, and those of the whole chunk."""
    if decay is not None:
        steps = tl.load(decay + rows, mask=rows < count, other=0.0)
        return tl.cumsum(steps, axis=0), tl.sum(steps, axis=0)
    return tl.zeros((BLOCK_T,), tl.float32), 0.0


@triton.jit
def causal_weights(scores, summed, positions, decay):
    """Products of queries (rows) and keys (columns) with decay, zero for keys to come."""
    seen = positions[:, None] >= positions[None, :]
    if decay is not None:
        # Set to zero where it would be positive: infinity times zero is not a number.
        gaps = tl.where(seen, summed[:, None] - summed[None, :], 0.0)
        scores = scores * tl.exp(gaps)
    return tl.where(seen, scores, 0.0)
