"""What is added to the scores and which pairs may meet, as tensors that broadcast to them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from headway.core.ops.attention.request import Request

_ALL = slice(None)


def positions(request: Request) -> tuple[Tensor, Tensor]:
    """Positions of queries and keys on one axis, aligned at the corner that `causal` names.

    Shape:
        (T,) and (S,), for packed input counted within each item.
    """
    _, _, queries, keys = request.shape
    device = request.query.device
    query_positions = torch.arange(queries, device=device)
    key_positions = torch.arange(keys, device=device)
    if request.offsets is None or request.key_offsets is None:
        if request.causal != "top-left":
            query_positions = query_positions + (keys - queries)
        return query_positions, key_positions
    query_items, key_items = items(request)
    query_ends = _bounds_of(request.offsets, query_items, 1)
    query_starts = _bounds_of(request.offsets, query_items, 0)
    key_starts = _bounds_of(request.key_offsets, key_items, 0)
    shift = -query_starts
    if request.causal != "top-left":
        reach = _bounds_of(request.key_offsets, query_items, 1) - _bounds_of(
            request.key_offsets, query_items, 0
        )
        shift = reach - query_ends
    return query_positions + shift, key_positions - key_starts


def items(request: Request) -> tuple[Tensor, Tensor]:
    """Number of the packed item that each query and each key belongs to.

    Shape:
        (T,) and (S,); what lies after the last offset has the number of items.
    """
    assert request.offsets is not None
    assert request.key_offsets is not None
    _, _, queries, keys = request.shape
    found = [
        torch.searchsorted(
            offsets[1:].contiguous(), torch.arange(n, device=offsets.device), right=True
        )
        for offsets, n in ((request.offsets, queries), (request.key_offsets, keys))
    ]
    return found[0], found[1]


def valid_keys(request: Request) -> Tensor | None:
    """True for the keys that exist, or None where all do.

    Shape:
        (B, 1, 1, S).
    """
    keys = request.key.shape[2]
    if request.lengths is not None:
        positions_s = torch.arange(keys, device=request.lengths.device)
        return (positions_s < request.lengths[:, None])[:, None, None, :]
    if request.offsets is not None:
        key_items = items(request)[1]
        return (key_items < request.offsets.shape[0] - 1)[None, None, None, :]
    return None


def allowed(request: Request, rows: slice = _ALL) -> Tensor | None:
    """True where a query may attend to a key, or None where all may.

    Args:
        request: The call.
        rows: Which queries.

    Shape:
        Broadcasts to (B, H, T, S), T those of `rows`.
    """
    mask = _both(_rows_of(request.mask, rows), valid_keys(request))
    if request.offsets is not None:
        query_items, key_items = items(request)
        mask = _both(mask, (query_items[rows, None] == key_items)[None, None])
    if request.causal or request.window is not None:
        query_positions, key_positions = positions(request)
        steps = key_positions - query_positions[rows, None]
        left, right = request.window or (None, None)
        if request.causal:
            right = 0
        if right is not None:
            mask = _both(mask, (steps <= right)[None, None])
        if left is not None:
            mask = _both(mask, (steps >= -left)[None, None])
    return mask


def added(request: Request, rows: slice = _ALL) -> Tensor | None:
    """The sum of bias, distance penalty, table entries and relative products; None where there is none.

    Args:
        request: The call.
        rows: Which queries.

    Shape:
        Broadcasts to (B, H, T, S), T those of `rows`.
    """
    total = _rows_of(request.bias, rows)
    if request.alibi_slopes is not None:
        query_positions, key_positions = positions(request)
        distance = (key_positions - query_positions[rows, None]).abs()
        penalty = -request.alibi_slopes[:, None, None] * distance
        total = penalty[None] if total is None else total + penalty
    if request.table is not None and request.index is not None:
        index = request.index[..., rows, :].long()
        entries = F.embedding(index, request.table).movedim(-1, -3)
        total = entries if total is None else total + entries
    if request.distance_key is not None:
        relative = distance_bias(request, rows)
        total = relative if total is None else total + relative
    return total


def distance_bias(request: Request, rows: slice = _ALL) -> Tensor:
    """The products of relative queries with the keys of their distances, as a bias.

    Args:
        request: The call.
        rows: Which queries.

    Shape:
        (B, H, T, S), T those of `rows`.
    """
    query, key = request.relative_query, request.distance_key
    assert query is not None
    assert key is not None
    batch, heads, queries, keys = request.shape
    device = query.device
    numbers = torch.arange(keys, device=device) - torch.arange(queries, device=device)[rows, None]
    query = query[:, :, rows]
    products = query @ key.mT
    return products.gather(3, (numbers + queries - 1).expand(batch, heads, -1, -1))


def _rows_of(tensor: Tensor | None, rows: slice) -> Tensor | None:
    """The part of what broadcasts to the scores that belongs to some queries."""
    if tensor is None or tensor.dim() < 2 or tensor.shape[-2] == 1:
        return tensor
    return tensor[..., rows, :]


def _both(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        return second if first is None else first
    return first & second


def _bounds_of(offsets: Tensor, numbers: Tensor, side: int) -> Tensor:
    # What lies after the last item has no bounds of its own; any will do, nothing attends there.
    return offsets[(numbers + side).clamp(max=offsets.shape[0] - 1)]
