"""Calls the C++ kernels of window attention; no checks of arguments."""

import ctypes
from pathlib import Path

import torch
from torch import Tensor

from headway.core.ops import native
from headway.core.ops.window_attention.memory import empty_outputs

SOURCE = Path(__file__).with_name("window.cpp")
# Partial sums of the gradients of bias and padding: a constant, so that their order does not depend
# on the machine.
_PARTS = 16
# Columns that the widest vectors write at once.
_VECTOR = 32

_Pointer, _Long = ctypes.c_void_p, ctypes.c_long


class _Windows(ctypes.Structure):
    """As in window.cpp."""

    _fields_ = (
        *((name, _Pointer) for name in ("projected", "padding", "out", "lse")),
        *((name, _Long) for name in ("pictures", "tokens", "heads", "width", "windows", "size")),
        ("scale", ctypes.c_float),
        *((name, _Pointer) for name in ("positions", "regions", "mixed", "bias")),
        ("threads", _Long),
    )


class _Gradients(ctypes.Structure):
    """As in window.cpp."""

    _fields_ = (
        *((name, _Pointer) for name in ("grad", "projected", "padding", "bias")),
        ("padded", _Long),
        ("parts", _Long),
    )


def forward(
    projected: Tensor,
    bias: Tensor | None,
    padding: Tensor | None,
    positions: Tensor,
    regions: Tensor | None,
    heads: int,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Runs the forward kernel.

    Shape:
        (B, N, H * D), and float32 (B, windows, H, S).
    """
    out, lse = empty_outputs(projected, positions, heads)
    windows, kept = _windows(projected, bias, padding, positions, regions, heads, scale, out, lse)
    native.library(SOURCE).window_forward(ctypes.byref(windows), _narrow(projected))
    del kept
    return out, lse


def backward(
    grad: Tensor,
    projected: Tensor,
    bias: Tensor | None,
    padding: Tensor | None,
    positions: Tensor,
    regions: Tensor | None,
    heads: int,
    scale: float,
    out: Tensor,
    lse: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `projected`, `bias` and `padding`; of the last two those that are not given are empty."""
    windows, kept = _windows(projected, bias, padding, positions, regions, heads, scale, out, lse)
    grad = grad.contiguous()
    found = torch.empty(projected.shape, dtype=projected.dtype)
    parts = min(_PARTS, max(1, projected.shape[0] * positions.shape[0]))
    gradients = _Gradients(grad=grad.data_ptr(), projected=found.data_ptr(), parts=parts)
    size = positions.shape[1]
    bias_sums = padding_sums = None
    if bias is not None:
        gradients.padded = -(-size // _VECTOR) * _VECTOR
        bias_sums = torch.zeros(parts, heads, size, gradients.padded)
        gradients.bias = bias_sums.data_ptr()
    if padding is not None:
        padding_sums = torch.zeros(parts, projected.shape[2])
        gradients.padding = padding_sums.data_ptr()
    native.library(SOURCE).window_backward(
        ctypes.byref(windows), ctypes.byref(gradients), _narrow(projected)
    )
    del kept
    bias_grad = padding_grad = None
    if bias is not None and bias_sums is not None:
        bias_grad = bias_sums[..., :size].sum(dim=0).to(bias.dtype)
    if padding is not None and padding_sums is not None:
        padding_grad = padding_sums.sum(dim=0).to(padding.dtype)
    nothing = (projected.new_empty(0), projected.new_empty(0))
    return (
        found,
        nothing[0] if bias_grad is None else bias_grad,
        nothing[1] if padding_grad is None else padding_grad,
    )


def _windows(
    projected: Tensor,
    bias: Tensor | None,
    padding: Tensor | None,
    positions: Tensor,
    regions: Tensor | None,
    heads: int,
    scale: float,
    out: Tensor,
    lse: Tensor,
) -> tuple[_Windows, list[Tensor]]:
    """The arguments, and the tensors that must live as long as they do."""
    projected, out = projected.contiguous(), out.contiguous()
    kept = [projected, out, lse, positions]
    windows = _Windows(
        projected=projected.data_ptr(),
        out=out.data_ptr(),
        lse=lse.data_ptr(),
        pictures=projected.shape[0],
        tokens=projected.shape[1],
        heads=heads,
        width=projected.shape[2] // (3 * heads),
        windows=positions.shape[0],
        size=positions.shape[1],
        scale=scale,
        positions=positions.data_ptr(),
        threads=torch.get_num_threads(),
    )
    if padding is not None:
        kept.append(padding.to(projected.dtype).contiguous())
        windows.padding = kept[-1].data_ptr()
    if bias is not None:
        kept.append(bias.float().contiguous())
        windows.bias = kept[-1].data_ptr()
    if regions is not None:
        mixed = (regions != regions[:, :1]).any(dim=1).to(torch.uint8)
        kept += [regions, mixed]
        windows.regions, windows.mixed = regions.data_ptr(), mixed.data_ptr()
    return windows, kept


def _narrow(tensor: Tensor) -> int:
    return int(tensor.dtype == torch.bfloat16)
