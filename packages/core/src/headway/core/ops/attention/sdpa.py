"""Attention through PyTorch's own scaled_dot_product_attention, on any device.

Everything here is made of standard aten operators, so that an exported graph runs without headway.
"""

import dataclasses
import itertools
import math

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.ops.attention.request import Request, same_size
from headway.core.ops.attention.scores import added, allowed, valid_keys
from headway.core.ops.attention.sdpa_training import scaled_dot_product
from headway.core.ops.tracing import readable

# Multiplications of queries with keys in one item from which calls for single items pay off.
_LARGE = 2**20


def reason_against(request: Request) -> str | None:
    """Why this backend cannot take the request, with the remedy, or None if it can."""
    if request.softcap is not None:
        return "sdpa has no softcap; use backend='reference'"
    if request.sinks is not None:
        return "sdpa has no sinks; use backend='reference'"
    if request.lse:
        return "sdpa does not return the log-sum-exp; use backend='reference'"
    if request.dropout > 0.0 and request.seed is not None:
        return "sdpa cannot seed its dropout; use backend='reference' or seed=None"
    return None


def attention(request: Request) -> Tensor:
    """The output of a request that `reason_against` lets pass.

    Shape:
        (B, H, T, Dv).

    Source:
        https://pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention
    """
    if request.offsets is not None and not torch.compiler.is_compiling():
        return _packed(request)
    if request.lengths is not None and readable(request.lengths):
        return _padded(request, request.lengths.tolist())
    return _dense(request)


def _dense(request: Request) -> Tensor:
    query, key, value, scale = request.query, request.key, request.value, request.scale
    if isinstance(scale, Tensor):
        query, scale = query * scale.to(query.dtype)[:, None, None], 1.0
    valid = valid_keys(request)
    if valid is not None and not (readable(key) and _finite(key, value)):
        # A weight of zero times a NaN is a NaN, so what does not exist must hold numbers.
        missing = (~valid).movedim(-1, -2)
        key, value = key.masked_fill(missing, 0.0), value.masked_fill(missing, 0.0)
    bias = added(request)
    causal = bias is None and _only_causal(request)
    mask = _joined(bias, None if causal else allowed(request), request)
    if query.is_cpu or mask is None:
        return scaled_dot_product(query, key, value, mask, request.dropout, causal, scale)
    # Only the CPU kernels are known to give zeros for a row without any key.
    mask, empty = opened(mask)
    out = scaled_dot_product(query, key, value, mask, request.dropout, causal, scale)
    return out.masked_fill(empty, 0.0)


def opened(mask: Tensor) -> tuple[Tensor, Tensor]:
    """A mask in which every row sees something, and which rows saw nothing before."""
    if mask.dtype == torch.bool:
        empty = ~mask.any(dim=-1, keepdim=True)
        return mask | empty, empty
    empty = (mask == -torch.inf).all(dim=-1, keepdim=True)
    return mask.masked_fill(empty, 0.0), empty


def _finite(*tensors: Tensor) -> bool:
    """Whether all are surely finite; a sum costs far less than a copy."""
    return all(math.isfinite(x.detach().sum().item()) for x in tensors)


def _only_causal(request: Request) -> bool:
    """Whether the one thing that hides keys is SDPA's own causal flag, which is top-left."""
    if not request.causal or request.window is not None:
        return False
    if any(x is not None for x in (request.mask, request.lengths, request.offsets)):
        return False
    _, _, queries, keys = request.shape
    return request.causal == "top-left" or same_size(queries, keys)


def _joined(bias: Tensor | None, mask: Tensor | None, request: Request) -> Tensor | None:
    """One mask for SDPA: boolean, or additive with four dimensions."""
    _, _, queries, keys = request.shape
    joined = mask
    if bias is not None:
        dtype = request.query.dtype
        if bias.dtype != dtype and not (request.query.is_cpu and bias.dtype == torch.float32):
            bias = bias.to(dtype)
        joined = bias if mask is None else torch.where(mask, bias, -torch.inf)
    if joined is None:
        return None
    while joined.dim() < 4:
        joined = joined[None]
    return joined.expand(-1, -1, queries, keys)


def _padded(request: Request, lengths: list[int]) -> Tensor:
    """Lengths that can be read: none if all keys exist, and large items without their padding."""
    _, heads, queries, keys = request.shape
    if all(length == keys for length in lengths):
        return _dense(dataclasses.replace(request, lengths=None))
    # Fewer keys must not move the diagonal.
    free = request.window is None and request.alibi_slopes is None
    fixed = free and (request.causal != "bottom-right" or same_size(queries, keys))
    if not fixed or heads * queries * keys * request.query.shape[3] < _LARGE:
        return _dense(request)
    tensors = (request.query, request.key, request.value)
    outs: list[Tensor] = []
    for n, (query, key, value) in enumerate(zip(*(x.split(1) for x in tensors), strict=True)):
        rows, columns = slice(0, queries), slice(0, lengths[n])
        item = dataclasses.replace(
            request,
            query=query,
            key=key[:, :, columns],
            value=value[:, :, columns],
            bias=_block(_item(request.bias, n, 4), rows, columns),
            mask=_block(_item(request.mask, n, 4), rows, columns),
            index=_block(_item(request.index, n, 3), rows, columns),
            lengths=None,
            causal="top-left" if request.causal else False,
        )
        outs.append(_dense(item))
    return torch.cat(outs)


def _item(tensor: Tensor | None, number: int, dims: int) -> Tensor | None:
    if tensor is None or tensor.dim() < dims or tensor.shape[0] == 1:
        return tensor
    return tensor[number : number + 1]


def _packed(request: Request) -> Tensor:
    """Each item by itself, so that no work is done between items and no NaN crosses over."""
    assert request.offsets is not None
    assert request.key_offsets is not None
    _, heads, queries, keys = request.shape
    query_sizes = _sizes("offsets", request.offsets, queries)
    key_sizes = (
        query_sizes
        if request.key_offsets is request.offsets
        else _sizes("key_offsets", request.key_offsets, keys)
    )
    # One split has one node in the graph of derivatives; slices would have one each.
    parts_q = request.query.split(query_sizes, dim=2)
    parts_k = request.key.split(key_sizes, dim=2)
    parts_v = request.value.split(key_sizes, dim=2)
    outs: list[Tensor] = []
    start_q = start_k = 0
    for query, key, value in zip(parts_q[:-1], parts_k[:-1], parts_v[:-1], strict=True):
        rows = slice(start_q, start_q + query.shape[2])
        columns = slice(start_k, start_k + key.shape[2])
        start_q, start_k = rows.stop, columns.stop
        if not query.shape[2]:
            continue
        item = dataclasses.replace(
            request,
            query=query,
            key=key,
            value=value,
            bias=_block(request.bias, rows, columns),
            mask=_block(request.mask, rows, columns),
            index=_block(request.index, rows, columns),
            offsets=None,
            key_offsets=None,
        )
        outs.append(_dense(item))
    width = request.value.shape[3]
    outs.append(request.query.new_zeros(1, heads, query_sizes[-1], width))
    return torch.cat(outs, dim=2)


def _sizes(name: str, offsets: Tensor, total: int) -> list[int]:
    """Sizes of the items, and of the rest that belongs to none."""
    bounds: list[int] = offsets.tolist()
    sizes = [end - start for start, end in itertools.pairwise(bounds)]
    if not bounds or bounds[0] != 0 or bounds[-1] > total or any(size < 0 for size in sizes):
        raise UserError(f"{name} {bounds} must rise from 0 to at most the {total} packed tokens")
    return [*sizes, total - bounds[-1]]


def _block(tensor: Tensor | None, rows: slice, columns: slice) -> Tensor | None:
    if tensor is None:
        return None
    if tensor.dim() >= 2 and tensor.shape[-2] != 1:
        tensor = tensor[..., rows, :]
    if tensor.dim() >= 1 and tensor.shape[-1] != 1:
        tensor = tensor[..., columns]
    return tensor
