"""Dropout in C++: one pass over the elements."""

import ctypes
import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headway.core.ops import native
from headway.core.ops.native.draws import draws_of

_SOURCE = Path(__file__).with_name("dropout.cpp")
_DTYPES = (torch.float32, torch.bfloat16)


def reason_against(x: Tensor) -> str | None:
    """Why the kernel cannot run, with the remedy, or None if it can."""
    if not x.is_cpu:
        return f"native: runs on the CPU, not on {x.device}; use backend='auto'"
    if x.dtype not in _DTYPES:
        return f"native: {x.dtype} has no kernel; use float32 or bfloat16, or backend='torch'"
    reason = native.reason_against(_SOURCE)
    return None if reason is None else f"native: {reason}"


def dropout(x: Tensor, seed: int, rate: float) -> Tensor:
    """Runs the kernel.

    Shape:
        x: any. Output: the same, contiguous.
    """
    x = x.contiguous()
    out = torch.empty_like(x)
    _run()(
        x.data_ptr(),
        out.data_ptr(),
        x.numel(),
        ctypes.byref(draws_of(seed, rate)),
        torch.get_num_threads(),
        x.dtype == torch.bfloat16,
    )
    return out


def differentiable(x: Tensor, seed: int, rate: float) -> Tensor:
    """The same with a gradient."""
    return _Direct.apply(x, seed, rate)


@functools.cache
def _run() -> Any:
    run = native.library(_SOURCE).headway_dropout
    run.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_long, ctypes.c_void_p, ctypes.c_long]
    run.argtypes += [ctypes.c_int]
    run.restype = None
    return run


class _Direct(torch.autograd.Function):
    """The operator without its registration, which costs as much as a hundred thousand elements."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, seed: int, rate: float) -> Tensor:
        ctx.seed, ctx.rate = seed, rate
        return dropout(x, seed, rate)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _Direct.apply(grads[0], ctx.seed, ctx.rate), None, None
