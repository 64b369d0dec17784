"""Launches the kernels: grids and memory; no autograd and no checks of arguments."""

from typing import Any

import torch
import triton
from torch import Tensor

from headway.core.ops.attention.request import Request
from headway.core.ops.attention.results import Wanted, empty_outputs, empty_rows
from headway.core.ops.attention.triton.bias import bias_kernel
from headway.core.ops.attention.triton.distance import distance_kernel
from headway.core.ops.attention.triton.forward import forward_kernel
from headway.core.ops.attention.triton.key_value import key_value_kernel
from headway.core.ops.attention.triton.options import (
    Constants,
    constants_of,
    options_of,
    shape_of,
)
from headway.core.ops.attention.triton.packing import blocks_of
from headway.core.ops.attention.triton.query import query_kernel
from headway.core.ops.attention.triton.statistics import delta_kernel
from headway.core.ops.attention.triton.table import table_kernel
from headway.core.ops.kernels.constants import padded
from headway.core.ops.kernels.machine import architecture, on_device
from headway.core.ops.kernels.memory import dense_rows
from headway.core.ops.kernels.rows import rows_of
from headway.core.ops.kernels.tiles import Tile, tile_for

# Programs that the kernels of bias and table are cut into, at least, if there is enough to do; a constant,
# so that the order of the sums does not depend on the device.
_PROGRAMS = 256
# Rows per program of the delta kernel, which multiplies no matrices and needs no tuning.
DELTA_ROWS = 64


class Launcher:
    """Starts kernels on the device of their inputs; the audit has one that only writes down what it gets."""

    def tile(self, kernel: str, request: Request) -> Tile:
        """The launch shape of a kernel for the device, type and width of a request."""
        query, value = request.query, request.value
        return tile_for(
            "attention",
            tile_name(kernel, request),
            arch=self.architecture(query),
            single=query.dtype == torch.float32,
            width=padded(max(query.shape[3], value.shape[3])),
        )

    def architecture(self, query: Tensor) -> int:
        """Compute capability times ten of the device that kernels are for."""
        return architecture(query)

    def start(
        self,
        name: str,
        kernel: Any,
        programs: int,
        arguments: tuple[Any, ...],
        constants: Constants,
        tile: Tile,
    ) -> None:
        """Runs a kernel; `name` is that of its tiles."""
        del name
        kernel[(programs,)](*arguments, **constants, num_warps=tile.warps, num_stages=tile.stages)


LAUNCHER = Launcher()


def tile_name(kernel: str, request: Request) -> str:
    """Under which name a kernel's tiles stand; some options take registers and need smaller ones."""
    limits = (request.offsets, request.window)
    if kernel == "bias" and (request.causal or any(x is not None for x in limits)):
        return "bias_banded"
    if kernel not in ("forward", "key_value", "query"):
        return kernel
    if request.distance_key is not None:
        return f"{kernel}_shift"
    crowded = request.table is not None or (request.bias is not None and request.mask is not None)
    return f"{kernel}_planes" if crowded else kernel


def forward(request: Request, launcher: Launcher = LAUNCHER) -> tuple[Tensor, Tensor]:
    """Runs the forward kernel.

    Shape:
        (B, H, T, Dv), laid out as (B, T, H, Dv), and float32 (B, H, T).
    """
    query, key, value = (dense_rows(x) for x in (request.query, request.key, request.value))
    batch, heads, queries, _ = request.shape
    out, lse = empty_outputs(query, value)
    if out.numel() == 0:
        return out, lse
    tile = launcher.tile("forward", request)
    with on_device(query):
        blocks, count = blocks_of(request.offsets, queries, tile.t)
        launcher.start(
            "forward",
            forward_kernel,
            count * heads * batch,
            (
                *(rows_of(x) for x in (query, key, value, out)),
                lse,
                options_of(request),
                shape_of(request),
                blocks,
            ),
            _blocked(constants_of(request), tile),
            tile,
        )
    return out, lse


def backward(
    request: Request,
    grad_out: Tensor,
    grad_lse: Tensor | None,
    out: Tensor,
    lse: Tensor,
    wanted: Wanted,
    launcher: Launcher = LAUNCHER,
) -> tuple[Tensor, ...]:
    """Runs the backward kernels.

    Returns:
        Gradients of query, key, value, bias, slopes, table, scales, sinks, relative queries and distances;
        of the last seven those that are not wanted are empty.
    """
    query, key, value, grad_out = (
        dense_rows(x) for x in (request.query, request.key, request.value, grad_out)
    )
    batch, heads, queries, _ = request.shape
    kv_heads, keys = key.shape[1:3]
    grad_query, grad_key, grad_value = (empty_rows(x) for x in (query, key, value))
    delta = torch.empty_like(lse)
    # An operator must not return one tensor twice.
    grads = {name: query.new_empty(0) for name in Wanted._fields}
    with on_device(query):
        constants, options, shape = constants_of(request), options_of(request), shape_of(request)
        rows = tuple(rows_of(x) for x in (query, key, value, grad_out))
        inputs = (*rows, lse, delta)
        row_slopes, row_scales = (
            torch.empty_like(lse) if want else None for want in (wanted.slopes, wanted.scales)
        )
        grad_relative = None
        if wanted.relative and request.relative_query is not None:
            grads["relative"] = grad_relative = empty_rows(request.relative_query)
        if query.numel():
            _row_sums(out, grad_out, grad_lse, lse, delta, request, launcher)
            tile = launcher.tile("query", request)
            blocks, count = blocks_of(request.offsets, queries, tile.t)
            launcher.start(
                "query",
                query_kernel,
                count * heads * batch,
                (
                    *inputs,
                    rows_of(grad_query),
                    row_slopes,
                    row_scales,
                    None if grad_relative is None else rows_of(grad_relative),
                    options,
                    shape,
                    blocks,
                ),
                _blocked(constants, tile),
                tile,
            )
        if key.numel():
            tile = launcher.tile("key_value", request)
            blocks, count = blocks_of(request.key_offsets, keys, tile.s)
            launcher.start(
                "key_value",
                key_value_kernel,
                count * kv_heads * batch,
                (*inputs, rows_of(grad_key), rows_of(grad_value), options, shape, blocks),
                _blocked(constants, tile),
                tile,
            )
        if wanted.bias:
            grads["bias"] = _bias_sums(request, inputs, options, constants, launcher)
        if wanted.table:
            grads["table"] = _table_sums(request, inputs, options, constants, launcher)
        if wanted.distances:
            grads["distances"] = _distance_sums(request, inputs, options, constants, launcher)
        for name, given, per_row in (
            ("slopes", request.alibi_slopes, row_slopes),
            ("scales", request.scale, row_scales),
        ):
            if per_row is not None and isinstance(given, Tensor):
                grads[name] = per_row.sum(dim=(0, 2)).to(given.dtype)
        if wanted.sinks and request.sinks is not None:
            # A sink takes its share of the weights and gives nothing back.
            shares = torch.exp(request.sinks.float()[:, None] - lse)
            shares = shares.masked_fill(lse == -torch.inf, 0.0)
            grads["sinks"] = -(shares * delta).sum(dim=(0, 2)).to(request.sinks.dtype)
    return grad_query, grad_key, grad_value, *grads.values()


def _row_sums(
    out: Tensor,
    grad_out: Tensor,
    grad_lse: Tensor | None,
    lse: Tensor,
    delta: Tensor,
    request: Request,
    launcher: Launcher,
) -> None:
    batch, heads, queries, _ = request.shape
    tile = Tile(DELTA_ROWS, 0, 4, 1)
    launcher.start(
        "delta",
        delta_kernel,
        triton.cdiv(queries, tile.t) * heads * batch,
        (
            rows_of(out),
            rows_of(grad_out),
            None if grad_lse is None else grad_lse.contiguous(),
            lse,
            delta,
            shape_of(request),
        ),
        {"DV": out.shape[3], "BLOCK_DV": padded(out.shape[3]), "BLOCK_T": tile.t},
        tile,
    )


def _bias_sums(
    request: Request,
    inputs: tuple[Any, ...],
    options: Any,
    constants: Constants,
    launcher: Launcher,
) -> Tensor:
    bias = request.bias
    assert bias is not None
    batch, heads, queries, keys = request.shape
    bias_b, bias_h, bias_t, bias_s = (1,) * (4 - bias.dim()) + tuple(bias.shape)
    if not batch * heads * queries * keys:
        return torch.zeros_like(bias, memory_format=torch.contiguous_format)
    tile = launcher.tile("bias", request)
    blocks_t, blocks_s = triton.cdiv(queries, tile.t), triton.cdiv(keys, tile.s)
    one_t, one_s = bias_t == 1, bias_s == 1
    tiles = bias_b * bias_h * (1 if one_t else blocks_t) * (1 if one_s else blocks_s)
    total = batch * heads * blocks_t * blocks_s // tiles
    visits, shares = _shares(total, tiles)
    partial = torch.empty(
        (shares, bias_b, bias_h, bias_t, bias_s), dtype=torch.float32, device=bias.device
    )
    launcher.start(
        "bias",
        bias_kernel,
        tiles * shares,
        (*inputs, partial, bias_b, bias_h, visits, options, shape_of(request)),
        _blocked(constants, tile) | {"ONE_T": one_t, "ONE_S": one_s},
        tile,
    )
    return partial.sum(dim=0).to(bias.dtype).view(bias.shape)


def _table_sums(
    request: Request,
    inputs: tuple[Any, ...],
    options: Any,
    constants: Constants,
    launcher: Launcher,
) -> Tensor:
    table, index = request.table, request.index
    assert table is not None
    assert index is not None
    batch, heads, queries, keys = request.shape
    if not batch * heads * queries * keys:
        return torch.zeros_like(table, memory_format=torch.contiguous_format)
    tile = launcher.tile("table", request)
    total = triton.cdiv(queries, tile.t) * triton.cdiv(keys, tile.s) * batch
    visits, shares = _shares(total, heads)
    partial = torch.zeros((shares, heads, table.shape[0]), dtype=torch.float32, device=table.device)
    repeats = batch if index.dim() == 2 or index.shape[0] == 1 else 1
    launcher.start(
        "table",
        table_kernel,
        heads * shares,
        (*inputs, partial, visits, repeats, options, shape_of(request)),
        _blocked(constants, tile),
        tile,
    )
    return partial.sum(dim=0).T.to(table.dtype).contiguous()


def _distance_sums(
    request: Request,
    inputs: tuple[Any, ...],
    options: Any,
    constants: Constants,
    launcher: Launcher,
) -> Tensor:
    key = request.distance_key
    assert key is not None
    batch, heads, queries, keys = request.shape
    own_heads, count, width = key.shape
    if not batch * heads * queries * keys:
        return torch.zeros_like(key, memory_format=torch.contiguous_format)
    tile = launcher.tile("distance", request)
    owners = own_heads * triton.cdiv(count, tile.s)
    visits, shares = _shares(batch * heads // own_heads, owners)
    partial = torch.empty((shares, own_heads, count, width), dtype=torch.float32, device=key.device)
    launcher.start(
        "distance",
        distance_kernel,
        owners * shares,
        (*inputs, partial, own_heads, visits, options, shape_of(request)),
        _blocked(constants, tile),
        tile,
    )
    return partial.sum(dim=0).to(key.dtype)


def _shares(total: int, owners: int) -> tuple[int, int]:
    """Visits per program, and programs per owner, so that there are enough programs in all."""
    visits = triton.cdiv(total, min(total, triton.cdiv(_PROGRAMS, owners)))
    return visits, triton.cdiv(total, visits)


def _blocked(constants: Constants, tile: Tile) -> Constants:
    return {**constants, "BLOCK_T": tile.t, "BLOCK_S": tile.s}
