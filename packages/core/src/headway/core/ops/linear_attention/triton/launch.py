"""Launches the kernels: strides, grids and memory; no autograd and no checks of arguments."""

from typing import Any

import torch
import triton
from torch import Tensor

from headway.core.ops.kernels.constants import padded, precision
from headway.core.ops.kernels.machine import architecture, on_device
from headway.core.ops.kernels.memory import dense_rows
from headway.core.ops.kernels.rows import rows_of
from headway.core.ops.kernels.tiles import Tile, tile_for
from headway.core.ops.linear_attention.chunked import empty_gradients, empty_outputs
from headway.core.ops.linear_attention.triton.backward import (
    key_kernel,
    query_kernel,
    value_kernel,
)
from headway.core.ops.linear_attention.triton.blocks import Sizes
from headway.core.ops.linear_attention.triton.forward import output_kernel, state_kernel

_Constants = dict[str, int | bool | str]


def forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor | None,
    state: Tensor,
    normalize: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Runs the kernels of the forward pass; as `chunked.forward`."""
    query, key, value = (dense_rows(x) for x in (query, key, value))
    out, total = empty_outputs(query, value, normalize)
    if out.numel() == 0:
        return out, total, state.clone(memory_format=torch.contiguous_format)
    decay = None if log_decay is None else log_decay.contiguous()
    tile = _tile("output", query)
    with on_device(query):
        states, sums = _states(key, value, decay, state, normalize)
        batch, heads, tokens, width = value.shape
        chunks = triton.cdiv(tokens, tile.t)
        _start(
            output_kernel,
            batch * heads * chunks,
            tile,
            (
                *(
                    rows_of(query),
                    rows_of(key),
                    rows_of(value),
                    decay,
                    states,
                    sums,
                    rows_of(out),
                    total,
                ),
                Sizes(heads, tokens, chunks, width),
            ),
            _constants(query, normalize),
        )
    return out, total, _joined(states, sums, -1, state, normalize)


def backward(
    grad_out: Tensor,
    grad_state: Tensor | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor | None,
    state: Tensor,
    out: Tensor,
    total: Tensor,
    normalize: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Runs the kernels of the backward pass; as `chunked.backward`."""
    query, key, value, grad_out = (dense_rows(x) for x in (query, key, value, grad_out))
    last = torch.zeros_like(state) if grad_state is None else grad_state.to(state.dtype)
    grads, grad_decay = empty_gradients(query, key, value, log_decay)
    if out.numel() == 0:
        return (
            grads[0],
            grads[1],
            grads[2],
            grad_decay,
            last.clone(memory_format=torch.contiguous_format),
        )
    decay = None if log_decay is None else log_decay.contiguous()
    share = extra = None
    if normalize:
        some = total > 0
        share = 1 / torch.where(some, total, 1.0)
        extra = torch.where(some, -(grad_out.float() * out).sum(dim=-1) * share, 0.0)
    tile = _tile("output", query)
    batch, heads, tokens, width = value.shape
    chunks = triton.cdiv(tokens, tile.t)
    constants = _constants(query, normalize)
    moved = [query.new_empty(total_shape(decay), dtype=torch.float32) for _ in range(2)]
    rows = [rows_of(x) for x in (query, key, value, grad_out)]
    inputs = (*rows, share, extra, decay)
    sizes = Sizes(heads, tokens, chunks, width)
    with on_device(query):
        states, sums = _states(key, value, decay, state, normalize)
        grad_states, grad_sums = _states(
            query, grad_out, decay, last, normalize, reverse=(share, extra)
        )
        _start(
            query_kernel,
            batch * heads * chunks,
            _tile("query", query),
            (*inputs, states, sums, rows_of(grads[0]), moved[0], sizes),
            constants,
        )
        _start(
            key_kernel,
            batch * heads * chunks,
            _tile("key", query),
            (*inputs, grad_states, grad_sums, rows_of(grads[1]), moved[1], sizes),
            constants,
        )
        _start(
            value_kernel,
            batch * heads * chunks,
            _tile("value", query),
            (rows[0], rows[1], rows[3], share, decay, grad_states, rows_of(grads[2]), sizes),
            constants,
        )
    if decay is not None:
        change = _by_chunk(moved[0] - moved[1], tile.t).flip(3).cumsum(dim=3).flip(3)
        passed = (states[:, 1:] * grad_states[:, 1:]).sum(dim=(2, 3))
        if normalize:
            passed += (sums[:, 1:] * grad_sums[:, 1:]).sum(dim=2)
        change = change + passed.view(batch, heads, chunks, 1)
        grad_decay = change.flatten(2)[:, :, :tokens, None].contiguous()
    first = _joined(grad_states, grad_sums, 0, state, normalize)
    return grads[0], grads[1], grads[2], grad_decay, first


def total_shape(decay: Tensor | None) -> tuple[int, ...]:
    """The shape of what is summed per token for the gradient of decay; nothing without it."""
    return (0,) if decay is None else tuple(decay.shape[:3])


def _states(
    rows: Tensor,
    values: Tensor,
    decay: Tensor | None,
    given: Tensor,
    normalize: bool,
    reverse: tuple[Tensor | None, Tensor | None] | None = None,
) -> tuple[Tensor, Tensor]:
    """The state before each chunk and after the last, or, in reverse, their gradients.

    Shape:
        (B * H, chunks + 1, D, E) and (B * H, chunks + 1, D), float32; the last is empty unless
        `normalize`.
    """
    batch, heads, tokens, width = values.shape
    channels = rows.shape[3]
    tile = _tile("state", rows)
    chunks = triton.cdiv(tokens, tile.t)
    states = rows.new_empty((batch * heads, chunks + 1, channels, width), dtype=torch.float32)
    entry = 0 if reverse is None else chunks
    states[:, entry] = given[..., :width].flatten(0, 1)
    shape = (batch * heads, chunks + 1, channels) if normalize else (0,)
    sums = rows.new_empty(shape, dtype=torch.float32)
    if normalize:
        sums[:, entry] = given[..., width].flatten(0, 1)
    constants = _constants(rows, normalize) | {"REVERSE": reverse is not None}
    constants.pop("PRECISION")
    _start(
        state_kernel,
        batch * heads * triton.cdiv(width, tile.s),
        tile,
        (
            *(rows_of(rows), rows_of(values), *(reverse or (None, None)), decay, states, sums),
            Sizes(heads, tokens, chunks, width),
        ),
        constants,
    )
    return states, sums


def _joined(states: Tensor, sums: Tensor, entry: int, like: Tensor, normalize: bool) -> Tensor:
    """One entry of the states in the shape of the argument of that name."""
    if not normalize:
        return states[:, entry].reshape(like.shape)
    return torch.cat([states[:, entry], sums[:, entry, :, None]], dim=-1).view(like.shape)


def _by_chunk(x: Tensor, chunk: int) -> Tensor:
    return torch.nn.functional.pad(x, (0, -x.shape[2] % chunk)).unflatten(2, (-1, chunk))


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


def _constants(query: Tensor, normalize: bool) -> _Constants:
    width = query.shape[3]
    return {
        "D": width,
        "BLOCK_D": padded(width),
        "NORMALIZE": normalize,
        "PRECISION": precision(query),
        # Half-precision inputs have no more digits than tf32 keeps.
        "STATE_PRECISION": precision(query) if query.dtype == torch.float32 else "tf32",
    }


def _tile(kernel: str, query: Tensor) -> Tile:
    single, width = query.dtype == torch.float32, triton.next_power_of_2(query.shape[3])
    return tile_of(kernel, architecture(query), single, width)


def tile_of(kernel: str, arch: int, single: bool, width: int) -> Tile:
    """The tile of a kernel; the chunk is that of "output" for all: they meet at the states between."""
    own, chunk = (
        tile_for("linear_attention", name, arch=arch, single=single, width=width)
        for name in (kernel, "output")
    )
    return Tile(chunk.t, own.s, own.warps, own.stages)
