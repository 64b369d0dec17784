"""The Triton backend as the dispatch sees it; imports triton only once a request is for it."""

import torch
from torch import Tensor

from headway.core.ops.attention.request import Request
from headway.core.ops.kernels.machine import reason_against as reason_against_device

_WIDTHS = (16, 128)
_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def reason_against(request: Request) -> str | None:
    """Why this backend cannot take the request, with the remedy, or None if it can."""
    missing = {
        "mask": (request.mask, "a bias of minus infinity, or backend='sdpa'"),
        "offsets": (request.offsets, "backend='sdpa'"),
        "window": (request.window, "backend='sdpa'"),
        "alibi_slopes": (request.alibi_slopes, "backend='sdpa'"),
        "table": (request.table, "backend='sdpa', or the gathered table as bias="),
        "softcap": (request.softcap, "backend='reference'"),
        "sinks": (request.sinks, "backend='reference'"),
    }
    for name, (given, remedy) in missing.items():
        if given is not None:
            return f"triton: {name} is not built yet; use {remedy}"
    if request.dropout > 0.0:
        return "triton: dropout is not built yet; use backend='sdpa' or 'reference'"
    if isinstance(request.scale, Tensor):
        return "triton: a scale per head is not built yet; multiply query by it, or use 'sdpa'"
    return _tensors(request) or reason_against_device(request.query.device)


def attention(request: Request) -> tuple[Tensor, Tensor]:
    """The output and the log-sum-exp of a request that `reason_against` lets pass.

    Shape:
        (B, H, T, D) and float32 (B, H, T).
    """
    # Imported here, so that headway runs where triton is not installed.
    from headway.core.ops.attention import operator

    return operator.attention(request)


def _tensors(request: Request) -> str | None:
    query, value = request.query, request.value
    if query.dtype not in _DTYPES:
        return f"triton: {query.dtype} has no kernel; use 'sdpa', or float16, bfloat16 or float32"
    width = query.shape[3]
    if not _WIDTHS[0] <= width <= _WIDTHS[1]:
        return f"triton: head width {width} is not in {_WIDTHS[0]}..{_WIDTHS[1]}; use 'sdpa'"
    if value.shape[3] != width:
        return f"triton: values are {value.shape[3]} wide and queries {width}; use 'sdpa'"
    bias = request.bias
    if bias is not None and bias.dtype not in _DTYPES:
        return f"triton: a bias of {bias.dtype} has no kernel; cast it to float32"
    if bias is not None and bias.numel() >= 2**31:
        return "triton: a bias of 2**31 elements is beyond the kernel's indices; use 'sdpa'"
    return None
