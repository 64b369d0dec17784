"""A second product of queries and keys under the scores: what relative positions add that see the content.

It becomes one of two things that every backend has. *Widening* puts its features behind those of queries
and keys, so that one product gives both and nothing of the size of the scores exists. A *bias* computes it
once.

Which is right depends on its width R beside that of a head, D. Sinusoids of `i - j` split into those of `i`
and of `j`, at any positions, with R = heads * D features. Widened, the forward kernel does as many operations
as the bias needs, and the backward kernels 2.5 times as many, since they compute the scores again; a GPU's
kernels hold rows of 256 features at most, and the CPU's wants values as wide as keys. On one CPU thread the
bias takes 0.32 to 0.98 of the time of widening, forward and backward (R = 64 to 512, 250 to 2,000 tokens).
So a GPU widens as long as its kernels can, and the CPU where a bias would be large, or would hold pairs of
packed items that never meet.

Where the positions are consecutive, keys can be given by distance instead, T + S - 1 rows as wide as a head.
On a GPU the kernels read them as they are: R features of sinusoids take R / D products more than the
content alone and do not fit in registers when R = 512, rows of distances at most two, and neither they nor
their queries grow with the number of heads.
"""

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from headway.core.ops.attention import triton_backend
from headway.core.ops.attention.request import Request
from headway.core.ops.attention.scores import distance_bias, valid_keys

# Widest head of the kernels on a GPU.
_WIDEST = 256
# Elements of a bias that the CPU still makes: 128 MiB in float32.
_LARGEST = 2**25


def absorb(request: Request, backend: str = "auto") -> Request:
    """The same request without relative features; its values may have got zeros behind them.

    Keys by distance stay where the Triton kernels take them, and become a bias elsewhere.
    """
    if request.distance_key is not None:
        if backend == "triton" or (
            backend == "auto"
            and not request.query.is_cpu
            and triton_backend.reason_against(request) is None
        ):
            return request
        return _added(request, distance_bias(request))
    query, key = request.relative_query, request.relative_key
    if query is None or key is None:
        return request
    request = dataclasses.replace(request, relative_query=None, relative_key=None)
    # A cap bends the scaled products alone.
    if request.softcap is None and _widens(request, query):
        return _widened(request, query, key)
    return _biased(request, query, key)


def _widens(request: Request, relative: Tensor) -> bool:
    if not request.query.is_cpu:
        return request.query.shape[3] + relative.shape[3] <= _WIDEST
    return request.offsets is not None or _is_large(request)


def _is_large(request: Request) -> bool:
    batch, heads, queries, keys = request.shape
    elements = batch * heads * queries * keys
    # The free sizes of an exported graph are no numbers to compare with, and must not become bounds.
    return isinstance(elements, int) and elements > _LARGEST


def _widened(request: Request, query: Tensor, key: Tensor) -> Request:
    scale = request.scale
    if isinstance(scale, Tensor):
        scale = scale.to(request.query.dtype)[:, None, None]
    key = key.expand(*request.key.shape[:3], -1)
    value = request.value
    if value.is_cpu and _is_large(request):
        value = F.pad(value, (0, max(0, query.shape[3] + request.query.shape[3] - value.shape[3])))
    return dataclasses.replace(
        request,
        query=torch.cat([request.query * scale, query], dim=-1),
        key=torch.cat([request.key, key], dim=-1),
        value=value,
        scale=1.0,
    )


def _biased(request: Request, query: Tensor, key: Tensor) -> Request:
    valid = valid_keys(request)
    if valid is not None:
        # What does not exist may hold anything, and must not meet the gradient of zero that it gets.
        key = key.masked_fill((~valid).movedim(-1, -2), 0.0)
    if key.shape[1] != 1:
        key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    return _added(request, query @ key.mT)


def _added(request: Request, bias: Tensor) -> Request:
    return dataclasses.replace(
        request,
        relative_query=None,
        distance_key=None,
        bias=bias if request.bias is None else bias + request.bias,
    )
