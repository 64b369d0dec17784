"""Launches the kernels: strides, grids and memory; no autograd and no checks of arguments."""

from typing import Any

import torch
import torch.nn.functional as F
import triton
from torch import Tensor

from headway.core.ops.kernels.constants import padded, precision
from headway.core.ops.kernels.machine import architecture, on_device
from headway.core.ops.kernels.tiles import tile_for
from headway.core.ops.window_attention.memory import empty_outputs
from headway.core.ops.window_attention.triton.backward import backward_kernel
from headway.core.ops.window_attention.triton.forward import forward_kernel

# Programs that the windows are cut into, at least, if there are enough of them; a constant, so that the
# order of the sums does not depend on the device.
_PROGRAMS = 512


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
    if out.numel():
        inputs = _dense(projected, bias, padding, positions, regions)
        _start("forward", forward_kernel, inputs, (), (out, lse), heads, scale)
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
    del out
    found = projected.new_empty(projected.shape)
    nothing = projected.new_empty(0)
    size, width = positions.shape[1], projected.shape[2] // 3
    _, shares = shares_of(projected.shape[0] * positions.shape[0], heads)
    # Without a window nobody writes.
    new = projected.new_empty if projected.numel() else projected.new_zeros
    bias_sums = padding_sums = None
    if bias is not None:
        block = padded(size)
        bias_sums = new((shares, heads, block, block), dtype=torch.float32)
    if padding is not None:
        padding_sums = projected.new_zeros((shares, 2 * width), dtype=torch.float32)
    if projected.numel():
        inputs = _dense(projected, bias, padding, positions, regions)
        others = (lse, found, bias_sums, padding_sums)
        _start("backward", backward_kernel, inputs, (grad.contiguous(),), others, heads, scale)
    grad_bias, grad_padding = nothing, projected.new_empty(0)
    if bias is not None and bias_sums is not None:
        grad_bias = bias_sums[..., :size, :size].sum(dim=0).to(bias.dtype)
    if padding is not None and padding_sums is not None:
        row = padding_sums.sum(dim=0)
        grad_padding = torch.cat([row.new_zeros(width), row]).to(padding.dtype)
    return found, grad_bias, grad_padding


def shares_of(total: int, heads: int) -> tuple[int, int]:
    """Windows per program, and programs per head."""
    visits = triton.cdiv(total, min(total, triton.cdiv(_PROGRAMS, heads)) or 1) or 1
    return visits, triton.cdiv(total, visits) or 1


def _dense(
    projected: Tensor,
    bias: Tensor | None,
    padding: Tensor | None,
    positions: Tensor,
    regions: Tensor | None,
) -> tuple[Tensor | None, ...]:
    # Kernels count within an item in int32.
    near = projected.stride(1) * projected.shape[1] < 2**31
    rows = projected if projected.stride(2) == 1 and near else projected.contiguous()
    if bias is not None:
        # A plane as large as the tile: its rows are aligned and read without masks.
        spare = padded(positions.shape[1]) - positions.shape[1]
        bias = F.pad(bias, (0, spare, 0, spare)).contiguous()
    padding = None if padding is None else padding.to(projected.dtype).contiguous()
    return rows, bias, padding, positions, regions


def _start(
    name: str,
    kernel: Any,
    inputs: tuple[Tensor | None, ...],
    before: tuple[Tensor, ...],
    after: tuple[Tensor | None, ...],
    heads: int,
    scale: float,
) -> None:
    projected, _, _, positions, _ = inputs
    assert projected is not None
    assert positions is not None
    batch, tokens, packed = projected.shape
    windows, size = positions.shape
    width = packed // (3 * heads)
    total = batch * windows
    visits, shares = shares_of(total, heads)
    single = projected.dtype == torch.float32
    tile = tile_for(
        "window_attention", name, arch=architecture(projected), single=single, width=width
    )
    with on_device(projected):
        kernel[(shares * heads,)](
            *(*before, *inputs, *after, scale, windows, heads, tokens, total, visits),
            *projected.stride()[:2],
            S=size,
            D=width,
            BLOCK_T=padded(size),
            BLOCK_D=padded(width),
            PRECISION=precision(projected),
            num_warps=tile.warps,
            num_stages=tile.stages,
        )
