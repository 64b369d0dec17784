"""Neighbourhood attention in C++ (float32)."""

import ctypes
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from headway.core.ops import native
from headway.core.ops.neighbourhood.geometry import Pair, sizes
from headway.core.ops.tracing import constant

SOURCE = Path(__file__).parent / "kernels.cpp"


# A tracer takes the answer as it is, instead of following it into the compiler.
@constant
def reason_against() -> str | None:
    """Why the kernels cannot be had here, or None."""
    return native.reason_against(SOURCE)


def forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    table: Tensor | None,
    lengths: Tensor | None,
    window: Pair,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Output and log-sum-exp.

    Shape:
        As in `headway.core.ops.neighbourhood.reference.attention`.
    """
    inputs = [_rows(x) for x in (query, key, value)]
    extra = _extra(table, lengths)
    out = torch.empty_like(inputs[0], memory_format=torch.contiguous_format)
    lse = query.new_empty(query.shape[:4], dtype=torch.float32)
    native.library(SOURCE).neighbourhood_forward(
        *(_pointer(x) for x in (*inputs, *extra, out, lse)),
        _numbers(*query.shape, *sizes(_grid(query), window), *window),
        _numbers(*_strides(*inputs, out)),
        ctypes.c_float(scale),
        torch.get_num_threads(),
    )
    return out.to(query.dtype), lse


def backward(
    grad_out: Tensor,
    grad_lse: Tensor | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    table: Tensor | None,
    lengths: Tensor | None,
    out: Tensor,
    lse: Tensor,
    window: Pair,
    scale: float,
    table_grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of query, key, value and table; the last is empty unless `table_grad`."""
    grad_out_rows, *inputs, out_rows = (_rows(x) for x in (grad_out, query, key, value, out))
    extra = _extra(table, lengths)
    grads = [torch.empty(query.shape, dtype=torch.float32) for _ in range(3)]
    parts = None
    if table is not None and table_grad:
        parts = torch.empty((*query.shape[:2], len(table)), dtype=torch.float32)
    grad_lse = None if grad_lse is None else grad_lse.float().contiguous()
    native.library(SOURCE).neighbourhood_backward(
        *(_pointer(x) for x in (grad_out_rows, *inputs, *extra, out_rows, lse, grad_lse)),
        *(_pointer(x) for x in (*grads, parts)),
        _numbers(*query.shape, *sizes(_grid(query), window), *window),
        _numbers(*_strides(*inputs, out_rows, grad_out_rows)),
        ctypes.c_float(scale),
        torch.get_num_threads(),
    )
    grad_table = query.new_empty(0)
    if table is not None and parts is not None:
        grad_table = parts.sum(dim=0).T.to(table.dtype).contiguous()
    grad_query, grad_key, grad_value = (grad.to(query.dtype) for grad in grads)
    return grad_query, grad_key, grad_value, grad_table


def _grid(query: Tensor) -> Pair:
    return query.shape[2], query.shape[3]


def _extra(table: Tensor | None, lengths: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    table = None if table is None else table.float().contiguous()
    if lengths is not None:
        lengths = lengths.long().contiguous()
    return table, lengths


def _rows(tensor: Tensor) -> Tensor:
    """Float32 with neighbouring features side by side."""
    tensor = tensor.float()
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def _strides(*tensors: Tensor) -> chain[int]:
    return chain.from_iterable(x.stride()[:4] for x in tensors)


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def _numbers(*numbers: int) -> ctypes.Array[ctypes.c_int64]:
    return (ctypes.c_int64 * len(numbers))(*numbers)
