"""The Triton backend as the dispatch sees it; imports triton only once a request is for it."""

import torch
from torch import Tensor

from headway.core.ops.attention.request import Request
from headway.core.ops.kernels.machine import reason_against as reason_against_device
from headway.core.private_torch import in_transform, only_vmaps

_WIDTHS = (16, 256)
# Of heads that shift products with distances, which takes registers.
_WIDEST_SHIFT = 128
_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def reason_against(request: Request) -> str | None:
    """Why this backend cannot take the request, with the remedy, or None if it can."""
    return _tensors(request) or reason_against_device(request.query.device) or _transforms()


def attention(request: Request) -> tuple[Tensor, Tensor]:
    """The output and the log-sum-exp of a request that `reason_against` lets pass.

    Shape:
        (B, H, T, D) and float32 (B, H, T).
    """
    # Imported here, so that headway runs where triton is not installed.
    from headway.core.ops.attention import operator

    return operator.attention(request)


def _transforms() -> str | None:
    if torch.compiler.is_compiling() or not in_transform():
        return None
    if only_vmaps():
        return None
    return (
        "triton: torch.func.grad does not see inside operators; use torch.autograd, or 'reference'"
    )


def _tensors(request: Request) -> str | None:
    query, value = request.query, request.value
    relative = request.relative_query
    if request.distance_key is not None and relative is not None:
        if relative.shape[3] != query.shape[3]:
            return (
                f"triton: relative_query has {relative.shape[3]} features and heads {query.shape[3]}; "
                "the kernels need as many: pad them with zeros, or use 'sdpa'"
            )
        if max(query.shape[3], value.shape[3]) > _WIDEST_SHIFT:
            return (
                f"triton: with distance_key, heads and values are at most {_WIDEST_SHIFT} wide, got "
                f"{query.shape[3]} and {value.shape[3]}; use 'sdpa'"
            )
    if query.dtype not in _DTYPES:
        return f"triton: {query.dtype} has no kernel; use 'sdpa', or float16, bfloat16 or float32"
    for name, width in (("head", query.shape[3]), ("value", value.shape[3])):
        if not _WIDTHS[0] <= width <= _WIDTHS[1]:
            return f"triton: {name} width {width} is not in {_WIDTHS[0]}..{_WIDTHS[1]}; use 'sdpa'"
    for name, given in (
        ("bias", request.bias),
        ("table", request.table),
        ("scale", request.scale),
        ("alibi_slopes", request.alibi_slopes),
        ("sinks", request.sinks),
    ):
        if isinstance(given, Tensor) and given.dtype not in _DTYPES:
            return f"triton: {name} of {given.dtype} has no kernel; cast it to float32"
    return None
