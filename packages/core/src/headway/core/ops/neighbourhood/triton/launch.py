"""Launches the kernels: strides, grids and memory; no autograd and no checks of arguments."""

from typing import Any

import torch
import triton
from torch import Tensor

from headway.core.ops.kernels.constants import precision
from headway.core.ops.kernels.machine import architecture, on_device
from headway.core.ops.kernels.memory import dense_rows
from headway.core.ops.kernels.tiles import Tile, tile_for
from headway.core.ops.neighbourhood.geometry import Pair, sizes
from headway.core.ops.neighbourhood.triton.backward import key_value_kernel, query_kernel
from headway.core.ops.neighbourhood.triton.forward import forward_kernel
from headway.core.ops.neighbourhood.triton.operands import Grid, Positions, positions_of
from headway.core.ops.neighbourhood.triton.table import table_kernel

# Programs that the kernel of the table is cut into, at least, if there is enough to do; a constant,
# so that the order of the sums does not depend on the device.
_TABLE_PROGRAMS = 512


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
    query, key, value = (dense_rows(x) for x in (query, key, value))
    batch, heads, rows, columns, _ = query.shape
    out = query.new_empty(query.shape)
    lse = query.new_empty(query.shape[:4], dtype=torch.float32)
    if not out.numel():
        return out, lse
    tile = _tile("forward", query)
    shape = tile_shape(tile, rows)
    programs = batch * heads * triton.cdiv(rows, shape[0]) * triton.cdiv(columns, shape[1])
    arguments = (*_positions(query, key, value), table, lengths, out, lse, scale, grid_of(query))
    _start(forward_kernel, programs, tile, arguments, query, window)
    return out, lse


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
    query, key, value = (dense_rows(x) for x in (query, key, value))
    grad_out = grad_out.contiguous()
    batch, heads, rows, columns, _ = query.shape
    grad_query, grad_key, grad_value = (query.new_empty(query.shape) for _ in range(3))
    delta = (grad_out.float() * out.float()).sum(dim=-1)
    if grad_lse is not None:
        delta = delta - grad_lse
    # The log-sum-exp of an empty row is a constant, whatever gradient reaches it.
    delta = delta.masked_fill(lse == -torch.inf, 0.0)
    inputs = (*_positions(query, key, value), table, lengths, grad_out, lse, delta)
    counts = (scale, grid_of(query))
    if query.numel():
        tile = _tile("query", query)
        shape = tile_shape(tile, rows)
        programs = batch * heads * triton.cdiv(rows, shape[0]) * triton.cdiv(columns, shape[1])
        _start(query_kernel, programs, tile, (*inputs, grad_query, *counts), query, window)
        tile = _tile("key_value", query)
        shape = tile_shape(tile, rows)
        programs = batch * heads * triton.cdiv(rows, shape[2]) * triton.cdiv(columns, shape[3])
        arguments = (*inputs, grad_key, grad_value, *counts)
        _start(key_value_kernel, programs, tile, arguments, query, window)
    grad_table = query.new_empty(0)
    if table is not None and table_grad:
        steps, entries = 2 * window[0] - 1, 2 * window[1] - 1
        shares = min(batch * rows, triton.cdiv(_TABLE_PROGRAMS, steps * heads)) or 1
        visits = triton.cdiv(batch * rows, shares)
        partial = torch.zeros((shares, heads, steps, entries), device=query.device)
        tile = _tile("table", query)
        kernel: Any = table_kernel
        with on_device(query):
            kernel[(shares * heads * steps,)](
                *(*inputs, partial, *counts, visits),
                **_windows(query, window),
                BLOCK_ENTRIES=triton.next_power_of_2(entries),
                BLOCK_T=tile.t,
                BLOCK_S=tile.s,
                PRECISION=precision(query),
                num_warps=tile.warps,
                num_stages=tile.stages,
            )
        grad_table = partial.sum(dim=0).flatten(1).T.to(table.dtype).contiguous()
    return grad_query, grad_key, grad_value, grad_table


def tile_shape(tile: Tile, rows: int) -> tuple[int, int, int, int]:
    """Rows and columns of a tile of queries and of one of keys: square on a picture, flat on a sequence."""
    if rows == 1:
        return 1, tile.t, 1, tile.s
    query_x, key_x = (1 << (size.bit_length() // 2) for size in (tile.t, tile.s))
    return tile.t // query_x, query_x, tile.s // key_x, key_x


def _start(
    kernel: Any,
    programs: int,
    tile: Tile,
    arguments: tuple[Any, ...],
    query: Tensor,
    window: Pair,
) -> None:
    query_y, query_x, key_y, key_x = tile_shape(tile, query.shape[2])
    with on_device(query):
        kernel[(programs,)](
            *arguments,
            **_windows(query, window),
            QUERY_Y=query_y,
            QUERY_X=query_x,
            KEY_Y=key_y,
            KEY_X=key_x,
            PRECISION=precision(query),
            num_warps=tile.warps,
            num_stages=tile.stages,
        )


def _windows(query: Tensor, window: Pair) -> dict[str, int]:
    high, wide = sizes((query.shape[2], query.shape[3]), window)
    return {
        "D": query.shape[4],
        "WINDOW_Y": high,
        "WINDOW_X": wide,
        "TABLE_Y": window[0],
        "TABLE_X": window[1],
    }


def grid_of(query: Tensor) -> Grid:
    """The sizes of a (B, H, Y, X, D) tensor."""
    return Grid(*query.shape[:4])


def _positions(*tensors: Tensor) -> tuple[Positions, ...]:
    return tuple(positions_of(x) for x in tensors)


def _tile(kernel: str, query: Tensor) -> Tile:
    single = query.dtype == torch.float32
    width = query.shape[4]
    return tile_for("neighbourhood", kernel, arch=architecture(query), single=single, width=width)
