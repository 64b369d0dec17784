"""The selective scan in C++: states in registers, made again chunk by chunk for the gradients."""

import ctypes
import functools
from pathlib import Path

import torch
from torch import Tensor

from headway.core.ops import native
from headway.core.ops.tracing import constant

_SOURCE = Path(__file__).with_name("scan.cpp")
# Sizes of state that the kernel is compiled for.
_STATES = (1, 2, 4, 8, 16, 32)
# Groups of channels whose gradients of B and C are summed apart; a constant, so that the sums do not
# depend on the number of threads.
_GROUPS = 8


def reason_against(u: Tensor, A: Tensor) -> str | None:
    """Why the kernel cannot run, with the remedy, or None if it can."""
    if not u.is_cpu:
        return f"native: runs on the CPU, not on {u.device}; use backend='auto'"
    if u.dtype == torch.float64:
        return "native: takes float32 and half precision, not float64; use backend='scan'"
    if A.shape[1] not in _STATES:
        return f"native: {A.shape[1]} states per channel are not in {_STATES}; use backend='scan'"
    reason = _built()
    return None if reason is None else f"native: {reason}"


def forward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Runs the forward kernel; float32 inputs."""
    inputs = [x.contiguous() for x in (u, delta, A, B, C, state)]
    out, last = (x.new_empty(x.shape) for x in (u, state))
    sizes = (*u.shape, A.shape[1])
    pointers = [x.data_ptr() for x in (*inputs, out, last)]
    done: bool = _library().headway_scan_forward((ctypes.c_int64 * 4)(*sizes), *pointers)
    assert done, "reason_against lets sizes pass that the kernel lacks"
    return out, last


def backward(
    grad: Tensor,
    grad_last: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Runs the backward kernel: gradients of u, delta, A, B, C and state."""
    inputs = [x.contiguous() for x in (u, delta, A, B, C, state, grad, grad_last)]
    batch, tokens, channels = u.shape
    states = A.shape[1]
    library = _library()
    grad_u, grad_delta, grad_state = (x.new_empty(x.shape) for x in (u, delta, state))
    grad_A = u.new_empty((batch, channels, states))
    grad_B, grad_C = (u.new_zeros((batch, _GROUPS, tokens, states)) for _ in range(2))
    starts = u.new_empty(batch * _GROUPS * states * library.headway_scan_chunks(tokens))
    found = (grad_u, grad_delta, grad_A, grad_B, grad_C, grad_state, starts)
    sizes = (batch, tokens, channels, states, _GROUPS)
    pointers = [x.data_ptr() for x in (*inputs, *found)]
    done: bool = library.headway_scan_backward((ctypes.c_int64 * 5)(*sizes), *pointers)
    assert done, "reason_against lets sizes pass that the kernel lacks"
    return grad_u, grad_delta, grad_A.sum(dim=0), grad_B.sum(dim=1), grad_C.sum(dim=1), grad_state


@constant
def _built() -> str | None:
    """Why there is no library; a constant to the compiler of graphs."""
    return native.reason_against(_SOURCE)


@functools.cache
def _library() -> ctypes.CDLL:
    library = native.library(_SOURCE)
    library.headway_scan_chunks.argtypes = [ctypes.c_int64]
    library.headway_scan_chunks.restype = ctypes.c_int64
    for function, tensors in (
        (library.headway_scan_forward, 8),
        (library.headway_scan_backward, 15),
    ):
        function.argtypes = [ctypes.c_void_p] * (1 + tensors)
        function.restype = ctypes.c_bool
    return library
