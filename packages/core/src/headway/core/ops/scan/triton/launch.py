"""Launches the kernels; float32 tensors, except for the associative scan."""

from typing import Any

import triton
from torch import Tensor

from headway.core.ops.kernels.machine import architecture, on_device
from headway.core.ops.kernels.tiles import Tile, tile_for
from headway.core.ops.scan.triton.recurrence import recurrence_kernel
from headway.core.ops.scan.triton.selective import gradient_kernel, scan_kernel

# Tokens whose states are made again at once; they are read back from the cache of the processor.
CHUNK = 32


def associative_scan(decay: Tensor, added: Tensor, reverse: bool) -> Tensor:
    """Runs the kernel on rows (M, N)."""
    decay, added = decay.contiguous(), added.contiguous()
    out = added.new_empty(added.shape)
    if out.numel() == 0:
        return out
    rows, positions = added.shape
    tile = _tile("recurrence", added)
    kernel: Any = recurrence_kernel
    with on_device(added):
        kernel[(triton.cdiv(rows, tile.t),)](
            *(decay, added, out, rows, positions),
            BLOCK_T=tile.t,
            BLOCK_S=tile.s,
            REVERSE=reverse,
            num_warps=tile.warps,
            num_stages=tile.stages,
        )
    return out


def forward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Runs the forward kernel."""
    inputs = [x.contiguous() for x in (u, delta, A, B, C, state)]
    out, last = (x.new_empty(x.shape) for x in (u, state))
    if last.numel() == 0:
        return out, last
    batch, tokens, channels = u.shape
    tile = _tile("scan", u)
    kernel: Any = scan_kernel
    with on_device(u):
        kernel[(batch * triton.cdiv(channels, tile.t),)](
            *(*inputs, out, last, tokens, channels, A.shape[1]),
            BLOCK_T=tile.t,
            BLOCK_S=triton.next_power_of_2(A.shape[1]),
            num_warps=tile.warps,
            num_stages=tile.stages,
        )
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
    grad_u, grad_delta, grad_state = (x.new_empty(x.shape) for x in (u, delta, state))
    if grad_state.numel() == 0:
        return grad_u, grad_delta, *(x.new_zeros(x.shape) for x in (A, B, C)), grad_state  # pyright: ignore[reportReturnType]
    tile, padded = _tile("gradient", u), triton.next_power_of_2(states)
    blocks, chunks = triton.cdiv(channels, tile.t), triton.cdiv(tokens, CHUNK)
    starts = u.new_empty((batch * blocks, chunks, tile.t, padded))
    chunk_states = u.new_empty((batch * blocks, CHUNK, tile.t, padded))
    grad_A = u.new_empty((batch, channels, states))
    grad_B, grad_C = (u.new_empty((batch, blocks, tokens, states)) for _ in range(2))
    kernel: Any = gradient_kernel
    with on_device(u):
        kernel[(batch * blocks,)](
            *(*inputs, starts, chunk_states, grad_u, grad_delta, grad_A, grad_B, grad_C),
            *(grad_state, tokens, channels, states, chunks),
            CHUNK=CHUNK,
            BLOCK_T=tile.t,
            BLOCK_S=padded,
            num_warps=tile.warps,
            num_stages=tile.stages,
        )
    return grad_u, grad_delta, grad_A.sum(dim=0), grad_B.sum(dim=1), grad_C.sum(dim=1), grad_state


def _tile(kernel: str, x: Tensor) -> Tile:
    """The tables go by no width: states per channel are few."""
    return tile_for("scan", kernel, arch=architecture(x), single=False, width=64)
