"""Where packed items lie, as kernels read it: made on the device, without a look at any value."""

import torch
from torch import Tensor

from headway.core.ops.attention.request import Request
from headway.core.ops.attention.triton.operands import Blocks, Packing


def packing_of(request: Request) -> Packing | None:
    """Bounds and shifts of every query and key; None where there is one item."""
    if request.offsets is None:
        return None
    assert request.key_offsets is not None
    _, _, queries, keys = request.shape
    offsets = _bounds(request.offsets, queries)
    key_offsets = _bounds(request.key_offsets, keys)
    # The last item is what lies behind the last offset, on one side only: it sees nothing.
    shifts = key_offsets[:-1] - offsets[:-1]
    if request.causal != "top-left":
        shifts = key_offsets[1:] - offsets[1:]
    own = _items(offsets, queries)
    own_s = _items(key_offsets, keys)
    none = torch.zeros_like(offsets[:1])
    key_begin, key_end = (torch.cat([x[:-1], none]) for x in (key_offsets[:-1], key_offsets[1:]))
    query_begin, query_end = (torch.cat([x[:-1], none]) for x in (offsets[:-1], offsets[1:]))
    return Packing(
        key_begin=key_begin[own],
        key_end=key_end[own],
        query_shift=shifts[own],
        query_begin=query_begin[own_s],
        query_end=query_end[own_s],
        key_shift=shifts[own_s],
    )


def blocks_of(offsets: Tensor | None, total: int, size: int) -> tuple[Blocks | None, int]:
    """Blocks of at most `size` rows that no two items share, and how many there are.

    Their number is a bound that holds for any offsets, so that a launch need not wait for them; what is
    left over is empty.
    """
    if offsets is None:
        return None, -(-total // size)
    bounds = _bounds(offsets, total)
    behind = ((bounds.diff() + size - 1) // size).cumsum(0).int()
    count = total // size + bounds.shape[0] - 1
    slots = torch.arange(count, device=offsets.device, dtype=torch.int32)
    item = torch.searchsorted(behind, slots, right=True).clamp(max=bounds.shape[0] - 2)
    before = torch.cat([torch.zeros_like(behind[:1]), behind])
    begin = bounds[item] + (slots - before[item]) * size
    return Blocks(begin, bounds[item + 1], count), count


def _bounds(offsets: Tensor, total: int) -> Tensor:
    """Rising int32 bounds within the rows that there are; the rest is one more item."""
    inside = offsets.clamp(0, total).int()
    end = torch.full_like(inside[:1], total)
    return torch.cat([inside, end]).cummax(0).values


def _items(bounds: Tensor, total: int) -> Tensor:
    rows = torch.arange(total, device=bounds.device, dtype=torch.int32)
    return torch.searchsorted(bounds[1:].contiguous(), rows, right=True)
