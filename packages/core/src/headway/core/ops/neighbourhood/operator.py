"""Neighbourhood attention as torch.library operators: traceable, differentiable twice."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from headway.core.errors import UserError
from headway.core.ops.derivatives import differentiate_gradients
from headway.core.ops.mapping import folded
from headway.core.ops.neighbourhood import native, reference
from headway.core.ops.neighbourhood.geometry import sizes


@torch.library.custom_op("headway::neighbourhood_forward", mutates_args=())
def neighbourhood_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    table: Tensor | None,
    lengths: Tensor | None,
    window: list[int],
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Fused neighbourhood attention; see `headway.core.ops.neighbourhood`."""
    module = _kernels(query)
    return module.forward(query, key, value, table, lengths, (window[0], window[1]), scale)


@neighbourhood_forward.register_fake
def _(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    table: Tensor | None,
    lengths: Tensor | None,
    window: list[int],
    scale: float,
) -> tuple[Tensor, Tensor]:
    return query.new_empty(query.shape), query.new_empty(query.shape[:4], dtype=torch.float32)


@torch.library.custom_op("headway::neighbourhood_backward", mutates_args=())
def neighbourhood_backward(
    grad_out: Tensor,
    grad_lse: Tensor | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    table: Tensor | None,
    lengths: Tensor | None,
    out: Tensor,
    lse: Tensor,
    window: list[int],
    scale: float,
    table_grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of `neighbourhood_forward`; that of the table is empty unless `table_grad`."""
    module = _kernels(query)
    pair = (window[0], window[1])
    return module.backward(
        *(grad_out, grad_lse, query, key, value, table, lengths, out, lse, pair, scale, table_grad)
    )


@neighbourhood_backward.register_fake
def _(
    grad_out: Tensor,
    grad_lse: Tensor | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    table: Tensor | None,
    lengths: Tensor | None,
    out: Tensor,
    lse: Tensor,
    window: list[int],
    scale: float,
    table_grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    grad_table = query.new_empty(0)
    if table is not None and table_grad:
        grad_table = table.new_empty(table.shape)
    shape = query.shape
    return query.new_empty(shape), key.new_empty(shape), value.new_empty(shape), grad_table


def _kernels(query: Tensor) -> Any:
    if query.is_cpu and native_runs(query):
        return native
    # Imported here, so that headway runs where triton is not installed.
    from headway.core.ops.neighbourhood.triton import launch

    return launch


def native_runs(query: Tensor) -> bool:
    """Whether the C++ kernels take a request; interpreted Triton kernels are asked for by flag."""
    from headway.core.ops.kernels import interpreted

    return query.is_cpu and not interpreted() and native.reason_against() is None


def _save_forward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, window, scale = inputs
    ctx.save_for_backward(*tensors, *output)
    ctx.window, ctx.scale = window, scale
    ctx.set_materialize_grads(False)


def _differentiate_forward(
    ctx: Any, grad_out: Tensor | None, grad_lse: Tensor | None
) -> tuple[Tensor | None, ...]:
    if grad_out is None and grad_lse is None:
        return (None,) * 7
    *tensors, out, lse = ctx.saved_tensors
    if grad_out is None:
        grad_out = torch.zeros_like(out)
    table_grad = tensors[3] is not None and ctx.needs_input_grad[3]
    grads = neighbourhood_backward(
        grad_out, grad_lse, *tensors, out, lse, ctx.window, ctx.scale, table_grad
    )
    return *grads[:3], grads[3] if table_grad else None, None, None, None


neighbourhood_forward.register_autograd(_differentiate_forward, setup_context=_save_forward)


def _save_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    grad_out, grad_lse, *tensors, _, _, window, scale, table_grad = inputs
    ctx.save_for_backward(grad_out, grad_lse, *tensors)
    ctx.window, ctx.scale, ctx.table_grad = window, scale, table_grad


def _differentiate_backward(ctx: Any, *incoming: Tensor | None) -> tuple[Tensor | None, ...]:
    """The full second derivative, taken here; `out` and `lse` receive none of their own."""
    grad_out, grad_lse, *inputs, lengths = ctx.saved_tensors

    def again(query: Tensor, key: Tensor, value: Tensor, table: Tensor | None) -> Any:
        pair = (ctx.window[0], ctx.window[1])
        return reference.attention(query, key, value, table, lengths, pair, ctx.scale)

    wanted = (True, True, True, ctx.table_grad)
    found, seeds = differentiate_gradients(again, inputs, (grad_out, grad_lse), wanted, incoming)
    return *seeds, *found, None, None, None, None, None, None


neighbourhood_backward.register_autograd(_differentiate_backward, setup_context=_save_backward)


@register_flop_formula(torch.ops.headway.neighbourhood_forward)
def _(
    query: torch.Size,
    key: torch.Size,
    value: torch.Size,
    table: torch.Size | None,
    lengths: torch.Size | None,
    window: list[int],
    scale: float,
    out_shape: Any = None,
) -> int:
    """Two products of each query with each neighbour."""
    batch, heads, rows, columns, width = query
    high, wide = sizes((rows, columns), (window[0], window[1]))
    return 4 * batch * heads * rows * columns * high * wide * width


@register_flop_formula(torch.ops.headway.neighbourhood_backward)
def _(
    grad_out: torch.Size, grad_lse: Any, query: torch.Size, *rest: Any, out_shape: Any = None
) -> int:
    """Five products."""
    batch, heads, rows, columns, width = query
    window = rest[6]
    high, wide = sizes((rows, columns), (window[0], window[1]))
    return 10 * batch * heads * rows * columns * high * wide * width


def _vmap(
    info: Any,
    in_dims: tuple[Any, ...],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    table: Tensor | None,
    lengths: Tensor | None,
    window: list[int],
    scale: float,
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    """Lets the mapped axis and the items be one axis."""
    if in_dims[3] is not None:
        raise UserError("neighbourhood_attention: one table serves all; do not map over it")
    size: int = info.batch_size
    tensors = [
        folded(x, dim, size) for x, dim in zip((query, key, value), in_dims[:3], strict=True)
    ]
    lengths = None if lengths is None else folded(lengths, in_dims[4], size)
    outputs = neighbourhood_forward(*tensors, table, lengths, window, scale)
    out, lse = (x.unflatten(0, (size, -1)) for x in outputs)
    return (out, lse), (0, 0)


torch.library.register_vmap("headway::neighbourhood_forward", _vmap)
