"""Launches the kernels: strides, grids and memory; no autograd and no checks of arguments."""

from typing import Any

import torch
import triton
from torch import Tensor

from headway.core.ops.attention.triton.backward import (
    delta_kernel,
    key_value_kernel,
    query_kernel,
)
from headway.core.ops.attention.triton.bias import bias_kernel
from headway.core.ops.attention.triton.forward import forward_kernel
from headway.core.ops.kernels.machine import architecture, on_device
from headway.core.ops.kernels.tiles import Tile, tile_for

_Constants = dict[str, int | bool | str]
_LOG2E = 1.4426950408889634
# Programs that the kernel of the bias is cut into, at least, if there is enough to do; a constant,
# so that the order of the sums does not depend on the device.
_BIAS_PROGRAMS = 256
# Rows per program of the delta kernel, which multiplies no matrices and needs no tuning.
DELTA_ROWS = 64


def forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    lengths: Tensor | None,
    scale: float,
    causal: str,
) -> tuple[Tensor, Tensor]:
    """Runs the forward kernel.

    Shape:
        (B, H, T, D), laid out as (B, T, H, D), and float32 (B, H, T).
    """
    query, key, value = (_dense_rows(x) for x in (query, key, value))
    batch, heads, queries, _ = query.shape
    keys = key.shape[2]
    out, lse = empty_outputs(query)
    if out.numel() == 0:
        return out, lse
    tile = _tile("forward", query)
    bias_4d = None if bias is None else bias.expand(batch, heads, queries, keys)
    with on_device(query):
        _start(
            forward_kernel,
            triton.cdiv(queries, tile.t) * heads * batch,
            tile,
            (
                *(query, key, value, bias_4d, lengths, out, lse),
                *(scale * _LOG2E, _shift(causal, queries, keys), heads, queries, keys),
                *query.stride()[:3],
                *key.stride()[:3],
                *value.stride()[:3],
                *_bias_strides(bias_4d),
                *out.stride()[:3],
            ),
            _constants(query, key, bias, lengths, causal),
        )
    return out, lse


def backward(
    grad_out: Tensor,
    grad_lse: Tensor | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    lengths: Tensor | None,
    out: Tensor,
    lse: Tensor,
    scale: float,
    causal: str,
    bias_grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Runs the backward kernels.

    Returns:
        Gradients of query, key, value and bias; the last is empty unless `bias_grad`.
    """
    query, key, value, grad_out = (_dense_rows(x) for x in (query, key, value, grad_out))
    batch, heads, queries, _ = query.shape
    kv_heads, keys = key.shape[1:3]
    bias_4d = None if bias is None else bias.expand(batch, heads, queries, keys)
    grad_query, grad_key, grad_value = (empty_rows(x) for x in (query, key, value))
    delta = torch.empty_like(lse)
    constants = _constants(query, key, bias, lengths, causal)
    inputs = (query, key, value, bias_4d, lengths, grad_out, lse, delta)
    sizes = (scale, _shift(causal, queries, keys), heads, queries, keys)
    strides = (
        *query.stride()[:3],
        *key.stride()[:3],
        *value.stride()[:3],
        *_bias_strides(bias_4d),
        *grad_out.stride()[:3],
    )
    with on_device(query):
        if query.numel():
            _row_sums(out, grad_out, grad_lse, lse, delta, constants)
            tile = _tile("query", query)
            programs = triton.cdiv(queries, tile.t) * heads * batch
            arguments = (*inputs, grad_query, *sizes, *strides, *grad_query.stride()[:3])
            _start(query_kernel, programs, tile, arguments, constants)
        if key.numel():
            tile = _tile("key_value", query)
            programs = triton.cdiv(keys, tile.s) * kv_heads * batch
            ends = (*grad_key.stride()[:3], *grad_value.stride()[:3])
            arguments = (*inputs, grad_key, grad_value, *sizes, *strides, *ends)
            _start(key_value_kernel, programs, tile, arguments, constants)
        grad_bias = query.new_empty(0)
        if bias is not None and bias_grad:
            grad_bias = _bias_sums(bias, query, key, inputs, sizes, strides, constants)
    return grad_query, grad_key, grad_value, grad_bias


def _row_sums(
    out: Tensor,
    grad_out: Tensor,
    grad_lse: Tensor | None,
    lse: Tensor,
    delta: Tensor,
    constants: _Constants,
) -> None:
    batch, heads, queries, _ = out.shape
    kernel: Any = delta_kernel
    kernel[(triton.cdiv(queries, DELTA_ROWS) * heads * batch,)](
        *(out, grad_out, None if grad_lse is None else grad_lse.contiguous(), lse, delta),
        *(heads, queries),
        *out.stride()[:3],
        *grad_out.stride()[:3],
        D=constants["D"],
        BLOCK_D=constants["BLOCK_D"],
        BLOCK_T=DELTA_ROWS,
        HAS_GRAD_LSE=grad_lse is not None,
        num_warps=4,
    )


def _bias_sums(
    bias: Tensor,
    query: Tensor,
    key: Tensor,
    inputs: tuple[Tensor | None, ...],
    sizes: tuple[float, int, int, int, int],
    strides: tuple[int, ...],
    constants: _Constants,
) -> Tensor:
    batch, heads, queries, _ = query.shape
    keys = key.shape[2]
    bias_b, bias_h, bias_t, bias_s = (1,) * (4 - bias.dim()) + tuple(bias.shape)
    if not batch * heads * queries * keys:
        return torch.zeros_like(bias, memory_format=torch.contiguous_format)
    tile = _tile("bias", query)
    blocks_t, blocks_s = triton.cdiv(queries, tile.t), triton.cdiv(keys, tile.s)
    one_t, one_s = bias_t == 1, bias_s == 1
    tiles = bias_b * bias_h * (1 if one_t else blocks_t) * (1 if one_s else blocks_s)
    total = batch * heads * blocks_t * blocks_s // tiles
    visits = triton.cdiv(total, min(total, triton.cdiv(_BIAS_PROGRAMS, tiles)))
    shares = triton.cdiv(total, visits)
    partial = torch.empty(
        (shares, bias_b, bias_h, bias_t, bias_s), dtype=torch.float32, device=bias.device
    )
    scale, shift, *counts = sizes
    arguments = (*inputs, partial, scale, shift, batch, *counts, bias_b, bias_h, visits, *strides)
    _start(
        bias_kernel,
        tiles * shares,
        tile,
        arguments,
        {**constants, "ONE_T": one_t, "ONE_S": one_s},
    )
    return partial.sum(dim=0).to(bias.dtype).view(bias.shape)


def _start(
    kernel: Any, programs: int, tile: Tile, arguments: tuple[Any, ...], constants: _Constants
) -> None:
    kernel[(programs,)](
        *arguments,
        **constants,
        BLOCK_T=tile.t,
        BLOCK_S=tile.s,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )


def empty_rows(like: Tensor) -> Tensor:
    """Memory for a (B, H, N, D) tensor laid out as (B, N, H, D), so that heads merge for free."""
    batch, heads, tokens, width = like.shape
    return like.new_empty((batch, tokens, heads, width)).transpose(1, 2)


def empty_outputs(query: Tensor) -> tuple[Tensor, Tensor]:
    """Memory for the output and the log-sum-exp."""
    return empty_rows(query), query.new_empty(query.shape[:3], dtype=torch.float32)


def _dense_rows(tensor: Tensor) -> Tensor:
    """The tensor with neighbouring features side by side; a copy only if they are not."""
    return tensor if tensor.stride(3) == 1 else tensor.contiguous()


def _constants(
    query: Tensor, key: Tensor, bias: Tensor | None, lengths: Tensor | None, causal: str
) -> _Constants:
    width = query.shape[3]
    exact = query.dtype != torch.float32 or torch.get_float32_matmul_precision() == "highest"
    return {
        "GROUPS": query.shape[1] // key.shape[1],
        "D": width,
        "BLOCK_D": max(16, triton.next_power_of_2(width)),
        "HAS_BIAS": bias is not None,
        "HAS_LENGTHS": lengths is not None,
        "CAUSAL": causal != "none",
        "PRECISION": "ieee" if exact else "tf32",
    }


def _tile(kernel: str, query: Tensor) -> Tile:
    return tile_for(
        "attention",
        kernel,
        arch=architecture(query),
        single=query.dtype == torch.float32,
        width=triton.next_power_of_2(query.shape[3]),
    )


def _shift(causal: str, queries: int, keys: int) -> int:
    return keys - queries if causal == "bottom-right" else 0


def _bias_strides(bias: Tensor | None) -> tuple[int, int, int, int]:
    if bias is None:
        return 0, 0, 0, 0
    first, second, third, fourth = bias.stride()
    return first, second, third, fourth
