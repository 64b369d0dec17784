"""One window of one head as a tile of scores, read from the packed projection by token numbers."""

import triton
import triton.language as tl

from headway.core.ops.kernels.rows import LOG2E


@triton.jit
def load_tokens(positions, window, S: tl.constexpr, BLOCK: tl.constexpr):
    """The numbers of the tokens of a window; -1 where there is none and beyond the window.

    They are int32 so that addresses within an item take few registers.
    """
    slots = tl.arange(0, BLOCK)
    return tl.load(positions + window * S + slots, mask=slots < S, other=-1).to(tl.int32)


@triton.jit
def load_features(start, tokens, stride, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """The features of tokens; zeros where there is no token."""
    columns = tl.arange(0, BLOCK_D)
    mask = (tokens >= 0)[:, None]
    if D != BLOCK_D:
        mask = mask & (columns < D)[None, :]
    return tl.load(start + tokens[:, None] * stride + columns[None, :], mask=mask, other=0.0)


@triton.jit
def store_features(start, tokens, stride, values, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """The counterpart of `load_features`."""
    columns = tl.arange(0, BLOCK_D)
    mask = (tokens >= 0)[:, None]
    if D != BLOCK_D:
        mask = mask & (columns < D)[None, :]
    pointers = start + tokens[:, None] * stride + columns[None, :]
    tl.store(pointers, values.to(start.dtype.element_ty), mask=mask)


@triton.jit
def load_padded(
    start,
    padding,
    offset,
    tokens,
    stride,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """The features of tokens `offset` behind the start, the padding's where there is no token."""
    if padding is not None:
        columns = tl.arange(0, BLOCK_D)
        rows = tl.where(tokens >= 0, start + tokens * stride, padding) + offset
        mask = (columns < D)[None, :]
        block = tl.load(rows[:, None] + columns[None, :], mask=mask, other=0.0)
    else:
        block = load_features(start + offset, tokens, stride, D, BLOCK_D)
    return block


@triton.jit
def load_bias(bias, head, S: tl.constexpr, BLOCK: tl.constexpr):
    """The biases of a head, a plane as large as the tile, in units of log 2."""
    slots = tl.arange(0, BLOCK)
    pairs = bias + head * (BLOCK * BLOCK) + slots[:, None] * BLOCK + slots[None, :]
    return tl.load(pairs, mask=(slots < S)[:, None], other=0.0).to(tl.float32) * LOG2E


@triton.jit
def hide(scores, regions, window, S: tl.constexpr, BLOCK: tl.constexpr):
    """Minus infinity for keys beyond the window and for pairs that only the shift brought together."""
    slots = tl.arange(0, BLOCK)
    seen = (slots < S)[None, :]
    if regions is not None:
        # What lies beyond the window is a region of its own, so that its unused rows stay finite.
        region = tl.load(regions + window * S + slots, mask=slots < S, other=-1)
        seen = region[:, None] == region[None, :]
    return tl.where(seen, scores, float("-inf"))
