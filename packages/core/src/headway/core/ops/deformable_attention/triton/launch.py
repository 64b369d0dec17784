"""Launches the kernels: strides, grids and memory; no autograd and no checks of arguments."""

import functools
from typing import Any

import torch
import triton
from torch import Tensor

from headway.core.ops.deformable_attention.triton.backward import gradient_kernel, value_kernel
from headway.core.ops.deformable_attention.triton.forward import forward_kernel
from headway.core.ops.kernels.machine import architecture, on_device
from headway.core.ops.kernels.memory import dense_rows
from headway.core.ops.kernels.tiles import Tile, tile_for


def forward(value: Tensor, locations: Tensor, weights: Tensor, levels: list[int]) -> Tensor:
    """Runs the forward kernel.

    Args:
        value: Values.
        locations: Where they are read.
        weights: By how much they count.
        levels: Rows and columns of each level in turn.

    Shape:
        (B, Q, H * D).
    """
    value, locations, weights = dense_rows(value), locations.contiguous(), weights.contiguous()
    batch, queries, heads, count, points = weights.shape
    width = value.shape[3]
    out = value.new_empty(batch, queries, heads * width)
    if out.numel():
        tile = _tile("forward", value)
        kernel: Any = forward_kernel
        with on_device(value):
            kernel[(batch * heads * triton.cdiv(queries, tile.t),)](
                *(value, locations, weights, _table(tuple(levels), value.device), out),
                *(queries, heads, count * points, points, *value.stride()[:3]),
                **_widths(width),
                BLOCK_T=tile.t,
                num_warps=tile.warps,
                num_stages=tile.stages,
            )
    return out


def backward(
    grad: Tensor, value: Tensor, locations: Tensor, weights: Tensor, levels: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of values, locations and weights.

    Takes 24 bytes for each corner of each point of each query and head, besides what sorting takes.
    """
    value, locations, weights = dense_rows(value), locations.contiguous(), weights.contiguous()
    grad = grad.contiguous()
    batch, queries, heads, count, points = weights.shape
    tokens, width = value.shape[1], value.shape[3]
    grad_value, grad_locations, grad_weights = (
        x.new_empty(x.shape) for x in (value, locations, weights)
    )
    nowhere = batch * heads * tokens
    notes = (batch, heads, count * points, 4, queries)
    index = torch.int32 if nowhere < 2**31 else torch.int64
    keys = torch.empty(notes, dtype=index, device=value.device)
    coefficients = torch.empty(notes, dtype=torch.float32, device=value.device)
    if keys.numel():
        tile = _tile("gradient", value)
        kernel: Any = gradient_kernel
        with on_device(value):
            kernel[(batch * heads * triton.cdiv(queries, tile.t),)](
                *(grad, value, locations, weights, _table(tuple(levels), value.device)),
                *(grad_locations, grad_weights, keys, coefficients, nowhere),
                *(queries, heads, tokens, count * points, points, *value.stride()[:3]),
                **_widths(width),
                BLOCK_T=tile.t,
                num_warps=tile.warps,
                num_stages=tile.stages,
            )
    if value.numel():
        # Stable, so that the order of the sums is that of the points and queries on every device.
        found, order = torch.sort(keys.flatten(), stable=True)
        rows = torch.arange(nowhere + 1, dtype=index, device=value.device)
        bounds = torch.searchsorted(found, rows)
        tile = _tile("value", value)
        kernel = value_kernel
        with on_device(value):
            kernel[(batch * heads * triton.cdiv(tokens, tile.t),)](
                *(grad, order, bounds, coefficients, grad_value),
                *(queries, heads, tokens, count * points),
                **_widths(width),
                BLOCK_T=tile.t,
                BLOCK_S=tile.s,
                num_warps=tile.warps,
                num_stages=tile.stages,
            )
    return grad_value, grad_locations, grad_weights


@functools.lru_cache(maxsize=64)
def _table(levels: tuple[int, ...], device: torch.device) -> Tensor:
    """Rows, columns and first token of each level."""
    entries, first = [], 0
    for rows, columns in zip(levels[::2], levels[1::2], strict=True):
        entries.append((rows, columns, first))
        first += rows * columns
    return torch.tensor(entries, dtype=torch.int32, device=device)


def _widths(width: int) -> dict[str, int]:
    return {"D": width, "BLOCK_D": triton.next_power_of_2(width)}


def _tile(kernel: str, value: Tensor) -> Tile:
    return tile_for(
        "deformable_attention",
        kernel,
        arch=architecture(value),
        single=value.dtype == torch.float32,
        width=triton.next_power_of_2(value.shape[3]),
    )
