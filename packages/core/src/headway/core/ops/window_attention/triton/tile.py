"""One window of one head as a tile of scores, read from the packed projection by token numbers."""

import triton
import triton.language as tl

from headway.core.ops.kernels.rows import LOG2E


@triton.jit
def load_tokens(places, window, S: tl.constexpr, BLOCK: tl.constexpr):
    """The numbers of the tokens of a window; -1 where there is none and beyond the window."""
    slots = tl.arange(0, BLOCK)
    return tl.load(places + window * S + slots, mask=slots < S, other=-1)


@triton.jit
def load_features(start, tokens, stride, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """The features of tokens; zeros where there is no token."""
    columns = tl.arange(0, BLOCK_D)
    mask = (tokens >= 0)[:, None] & (columns < D)[None, :]
    return tl.load(start + tokens[:, None] * stride + columns[None, :], mask=mask, other=0.0)


@triton.jit
def store_features(start, tokens, stride, values, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """The counterpart of `load_features`."""
    columns = tl.arange(0, BLOCK_D)
    mask = (tokens >= 0)[:, None] & (columns < D)[None, :]
    places = start + tokens[:, None] * stride + columns[None, :]
    tl.store(places, values.to(start.dtype.element_ty), mask=mask)


@triton.jit
def load_padded(
    start,
    padding,
    offset,
    tokens,
    stride,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    HAS_PADDING: tl.constexpr,
):
    """The features of tokens `offset` behind the start, the padding's where there is no token."""
    rows = load_features(start + offset, tokens, stride, D, BLOCK_D)
    if HAS_PADDING:
        columns = tl.arange(0, BLOCK_D)
        spare = tl.load(padding + offset + columns, mask=columns < D, other=0.0)
        rows = tl.where((tokens >= 0)[:, None], rows, spare[None, :])
    return rows


@triton.jit
def load_bias(bias, head, S: tl.constexpr, BLOCK: tl.constexpr):
    """The biases of a head in units of log 2."""
    slots = tl.arange(0, BLOCK)
    there = (slots < S)[:, None] & (slots < S)[None, :]
    pairs = bias + head * S * S + slots[:, None] * S + slots[None, :]
    return tl.load(pairs, mask=there, other=0.0).to(tl.float32) * LOG2E


@triton.jit
def hide(scores, regions, window, S: tl.constexpr, BLOCK: tl.constexpr, HAS_REGIONS: tl.constexpr):
    """Minus infinity for keys beyond the window and for pairs that only the shift brought together."""
    slots = tl.arange(0, BLOCK)
    seen = (slots < S)[None, :]
    if HAS_REGIONS:
        region = tl.load(regions + window * S + slots, mask=slots < S, other=-1)
        # Queries beyond the window see something, so that their unused rows stay finite.
        seen = seen & ((region[:, None] == region[None, :]) | (slots >= S)[:, None])
    return tl.where(seen, scores, float("-inf"))
