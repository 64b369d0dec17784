"""From products of queries and keys to scores: one function for all kernels, and what hides a key."""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from headway.core.ops.attention.triton.operands import load_plane
from headway.core.ops.kernels.rows import LOG2E


class Limits(NamedTuple):
    """For each query the first key that it may see, the one behind the last, and its shift."""

    low: Any
    high: Any
    shift: Any


@triton.jit
def key_count(lengths, batch, S):
    """How many keys exist for an item, within 0..S."""
    count = S
    if lengths is not None:
        count = tl.minimum(tl.maximum(tl.load(lengths + batch).to(tl.int32), 0), S)
    return count


@triton.jit
def query_limits(rows, end, batch, shape, rules):
    """Limits of a block of queries; those from `end` on see nothing."""
    low = tl.zeros_like(rows)
    high = low + key_count(rules.lengths, batch, shape.S)
    shift = rules.shift
    if rules.packing is not None:
        low = tl.load(rules.packing.key_begin + rows, mask=rows < end, other=0)
        high = tl.load(rules.packing.key_end + rows, mask=rows < end, other=0)
        shift = tl.load(rules.packing.query_shift + rows, mask=rows < end, other=0)
    if rules.left is not None:
        low = tl.maximum(low, rows + shift - rules.left)
    if rules.right is not None:
        high = tl.minimum(high, rows + shift + rules.right + 1)
    return Limits(low, tl.where(rows < end, high, 0), shift)


@triton.jit
def key_range(limits, batch, shape, rules):
    """The keys that a block of queries may see."""
    first = 0
    last = key_count(rules.lengths, batch, shape.S)
    if rules.packing is not None or rules.left is not None:
        # Queries that see nothing have no say.
        first = tl.min(tl.where(limits.low < limits.high, limits.low, shape.S), axis=0)
    if rules.packing is not None or rules.right is not None:
        last = tl.max(limits.high, axis=0)
    return first, last


@triton.jit
def query_range(begin, end, batch, shape, rules):
    """The queries that may see keys of a block, which begins at a key of some item."""
    first = 0
    last = shape.T
    shift = rules.shift
    if rules.packing is not None:
        first = tl.load(rules.packing.query_begin + begin)
        last = tl.load(rules.packing.query_end + begin)
        shift = tl.load(rules.packing.key_shift + begin)
    if rules.lengths is not None:
        last = tl.where(begin < key_count(rules.lengths, batch, shape.S), last, 0)
    if rules.right is not None:
        first = tl.maximum(first, begin - shift - rules.right)
    if rules.left is not None:
        last = tl.minimum(last, end - shift + rules.left)
    return first, last


@triton.jit
def in_rows(limits, rules):
    """Limits for a tile whose first axis is that of the queries."""
    shift = limits.shift
    if rules.packing is not None:
        shift = shift[:, None]
    return Limits(limits.low[:, None], limits.high[:, None], shift)


@triton.jit
def in_columns(limits, rules):
    """Limits for a tile whose second axis is that of the queries."""
    shift = limits.shift
    if rules.packing is not None:
        shift = shift[None, :]
    return Limits(limits.low[None, :], limits.high[None, :], shift)


@triton.jit
def head_scale(rules, head):
    """The factor of a head's products."""
    if rules.scales is None:
        scale = rules.scale
    else:
        scale = tl.load(rules.scales + head).to(tl.float32)
    return scale


@triton.jit
def tile_scores(products, rows, columns, limits, batch, head, rules, relative=None):
    """Scores in units of log 2, minus infinity where a key is hidden, and the slope of the cap.

    Rows are numbers of queries and columns numbers of keys; they and the limits broadcast to the products,
    in either orientation. `relative` is what relative positions add, or None.
    """
    slope = 1.0
    if rules.softcap is None:
        scores = products * (head_scale(rules, head) * LOG2E)
    else:
        # tanh by an exponential that cannot overflow.
        ratio = products * (head_scale(rules, head) / rules.softcap)
        decay = tl.exp2(tl.abs(ratio) * (-2.0 * LOG2E))
        ratio = tl.where(ratio < 0.0, decay - 1.0, 1.0 - decay) / (1.0 + decay)
        slope = 1.0 - ratio * ratio
        scores = ratio * (rules.softcap * LOG2E)
    visible = columns < limits.high
    if rules.packing is not None or rules.left is not None:
        visible = visible & (columns >= limits.low)
    if rules.mask is not None:
        visible = visible & (load_plane(rules.mask, batch, head, rows, columns, visible) != 0)
    if rules.bias is not None:
        added = load_plane(rules.bias, batch, head, rows, columns, visible)
        scores += added.to(tl.float32) * LOG2E
    if rules.slopes is not None:
        steepness = tl.load(rules.slopes + head).to(tl.float32) * LOG2E
        scores -= distance(rows, columns, limits) * steepness
    if rules.table is not None:
        table = rules.table
        number = load_plane(table.numbers, batch, head, rows, columns, visible)
        # A number that the table does not have gives a NaN instead of somebody else's memory.
        known = (number >= 0) & (number < table.entries)
        entry = table.start + head * table.stride_h + number * table.stride_e
        added = tl.load(entry, mask=visible & known, other=float("nan"))
        scores += added.to(tl.float32) * LOG2E
    if relative is not None:
        scores += relative * LOG2E
    return tl.where(visible, scores, float("-inf")), slope


@triton.jit
def distance(rows, columns, limits):
    """Steps between queries and keys."""
    return tl.abs(columns - rows - limits.shift).to(tl.float32)


@triton.jit
def kept(rows, columns, line, shape, dropout):
    """Which weights stay: the same function of seed and position as in the reference, bit for bit.

    `line` is the number of the first query of the item's head among those of all.
    """
    first = (line + rows) * shape.S
    low = first.to(tl.uint32)
    number = low + columns.to(tl.uint32)
    high = (first >> 32).to(tl.uint32) + (number < low).to(tl.uint32)
    seed = tl.load(dropout.seed).to(tl.uint32)
    draws = _mixed(_mixed(number) ^ high ^ seed)
    return draws > tl.cast(dropout.threshold, tl.uint32)


@triton.jit
def _mixed(numbers):
    numbers = (numbers ^ (numbers >> 16)) * 0x7FEB352D
    numbers = (numbers ^ (numbers >> 15)) * 0x846CA68B
    return numbers ^ (numbers >> 16)
