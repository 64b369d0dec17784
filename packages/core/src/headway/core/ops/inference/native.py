"""The C++ kernels, called with pointers and strides."""

import ctypes
import functools
from pathlib import Path

import torch
from torch import Tensor

from headway.core.ops import native
from headway.core.private_torch import has_dispatch_mode, in_transform, is_recorded

_SOURCE = Path(__file__).with_name("steps.cpp")


def fits(*tensors: Tensor) -> bool:
    """Whether the kernels may run: numbers in float32 on the CPU, nothing to differentiate, no tracer."""
    if torch.compiler.is_compiling() or is_recorded():
        return False
    if torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
        return False
    plain = all(
        x.is_cpu and x.dtype == torch.float32 and type(x) in (Tensor, torch.nn.Parameter)
        for x in tensors
    )
    return plain and not in_transform() and not has_dispatch_mode() and _available()


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Runs the kernel; as the reference."""
    # By name: a copy that nobody holds would be gone before the kernel reads it.
    x, weight = x.contiguous(), weight.contiguous()
    out = torch.empty_like(x)
    width = x.shape[-1]
    pointers = (x.data_ptr(), weight.data_ptr(), out.data_ptr())
    _library().headway_rms_norm(*pointers, x.numel() // width if width else 0, width, eps)
    return out


def silu_gate(x: Tensor) -> Tensor:
    """Runs the kernel; as the reference."""
    x = x.contiguous()
    width = x.shape[-1] // 2
    out = x.new_empty((*x.shape[:-1], width))
    rows = out.numel() // width if width else 0
    _library().headway_silu_gate(x.data_ptr(), out.data_ptr(), rows, width)
    return out


def turn(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Runs the kernel; as the reference."""
    batch, heads, tokens, width = x.shape
    out = x.new_empty((batch, tokens, heads, width)).transpose(1, 2)
    cosines, sines = cosines.contiguous(), sines.contiguous()
    step = 0 if len(cosines) == 1 else tokens * (width // 2)
    angles = (step, width // 2)
    numbers = (*x.shape, *x.stride()[:3], *out.stride()[:3], *angles)
    pointers = (x.data_ptr(), cosines.data_ptr(), sines.data_ptr(), out.data_ptr())
    _library().headway_turn(*pointers, _integers(numbers))
    return out


def place_(buffer: Tensor, x: Tensor, places: Tensor) -> None:
    """Runs the kernel; as the reference."""
    numbers = (*x.shape, *x.stride()[:3], *buffer.stride()[:3])
    places = places.contiguous()
    pointers = (x.data_ptr(), places.data_ptr(), buffer.data_ptr())
    done: bool = _library().headway_place(*pointers, _integers((*numbers, buffer.shape[2])))
    if not done:
        raise IndexError(
            f"places {places.tolist()} and {x.shape[2]} tokens leave a buffer of {buffer.shape[2]}"
        )


def _integers(numbers: tuple[int, ...]) -> "ctypes.Array[ctypes.c_int64]":
    return (ctypes.c_int64 * len(numbers))(*numbers)


@functools.cache
def _available() -> bool:
    return native.reason_against(_SOURCE) is None


@functools.cache
def _library() -> ctypes.CDLL:
    library = native.library(_SOURCE)
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    library.headway_rms_norm.argtypes = [
        pointer,
        pointer,
        pointer,
        integer,
        integer,
        ctypes.c_float,
    ]
    library.headway_silu_gate.argtypes = [pointer, pointer, integer, integer]
    library.headway_turn.argtypes = [*(pointer,) * 5]
    library.headway_place.restype = ctypes.c_bool
    library.headway_place.argtypes = [*(pointer,) * 4]
    return library
