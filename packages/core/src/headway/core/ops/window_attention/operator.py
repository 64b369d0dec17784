"""The kernels as torch.library operators, and as they are called where nobody watches."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from headway.core.ops.kernels import interpreted
from headway.core.ops.kernels.operators import autocast, loop_over_batch
from headway.core.ops.tracing import readable
from headway.core.ops.window_attention import reference
from headway.core.ops.window_attention.memory import empty_outputs
from headway.core.ops.window_attention.native import launch
from headway.core.ops.window_attention.plan import Plan
from headway.core.ops.window_attention.request import Request
from headway.core.private_torch import has_dispatch_mode

_ARGUMENTS = 7


def attention(request: Request) -> Tensor:
    """The output of a request that a backend of kernels lets pass.

    Shape:
        (B, N, H * D).
    """
    plan = request.plan
    (projected,) = autocast(request.projected)
    arguments = (
        projected,
        request.bias,
        request.padding if plan.has_padding else None,
        plan.positions,
        plan.regions,
        request.heads,
        request.scale,
    )
    # Whoever watches operators (flop counters, selective checkpoints, fake tensors) sees one.
    if not readable(projected) or has_dispatch_mode():
        return window_attention_forward(*arguments)[0]
    return _Direct.apply(*arguments)[0]


@torch.library.custom_op("headway::window_attention_forward", mutates_args=())
def window_attention_forward(
    projected: Tensor,
    bias: Tensor | None,
    padding: Tensor | None,
    positions: Tensor,
    regions: Tensor | None,
    heads: int,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Attention within windows; see `headway.core.ops.window_attention`."""
    module = kernels_for(projected)
    return module.forward(projected, bias, padding, positions, regions, heads, scale)


@window_attention_forward.register_fake
def _(
    projected: Tensor,
    bias: Tensor | None,
    padding: Tensor | None,
    positions: Tensor,
    regions: Tensor | None,
    heads: int,
    scale: float,
) -> tuple[Tensor, Tensor]:
    return empty_outputs(projected, positions, heads)


@torch.library.custom_op("headway::window_attention_backward", mutates_args=())
def window_attention_backward(
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
    """Gradients of the first three arguments of `window_attention_forward`."""
    module = kernels_for(projected)
    return module.backward(
        grad, projected, bias, padding, positions, regions, heads, scale, out, lse
    )


@window_attention_backward.register_fake
def _(
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
    others = (
        projected.new_empty(0) if x is None else x.new_empty(x.shape) for x in (bias, padding)
    )
    bias_grad, padding_grad = others
    return projected.new_empty(projected.shape), bias_grad, padding_grad


def kernels_for(projected: Tensor) -> Any:
    """The module that launches kernels where a tensor lives."""
    if projected.is_cpu and not interpreted():
        return launch
    # Imported here, so that headway runs where triton is not installed.
    from headway.core.ops.window_attention.triton import launch as triton_launch

    return triton_launch


def _save_forward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:5], *output)
    ctx.numbers = inputs[5:]
    ctx.mark_non_differentiable(output[1])


def _first_gradients(
    ctx: Any, grad: Tensor, backward: Callable[..., tuple[Tensor, Tensor, Tensor]]
) -> tuple[Tensor | None, ...]:
    *inputs, out, lse = ctx.saved_tensors
    found = backward(grad, *inputs, *ctx.numbers, out, lse)
    given = zip(found, inputs[:3], strict=True)
    grads = [None if x is None else grad_x for grad_x, x in given]
    return *grads, *(None,) * (_ARGUMENTS - 3)


def _differentiate_forward(ctx: Any, grad: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    return _first_gradients(ctx, grad, window_attention_backward)


window_attention_forward.register_autograd(_differentiate_forward, setup_context=_save_forward)


def _save_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    del output
    ctx.save_for_backward(*inputs[:6])
    ctx.numbers = inputs[6:8]


def _differentiate_backward(ctx: Any, *incoming: Tensor) -> tuple[Tensor | None, ...]:
    """Second derivatives: the first ones again, through the reference.

    `out` and `lse` are functions of the other inputs, whose full derivative is taken here; they
    receive none of their own.
    """
    *given, positions, regions = ctx.saved_tensors
    heads, scale = ctx.numbers
    with torch.enable_grad():
        leaves = [None if x is None else x.detach().requires_grad_() for x in given]
        grad, projected, bias, padding = leaves
        assert grad is not None
        assert projected is not None
        tokens = projected.shape[1]
        plan = Plan((1, positions.shape[1]), tokens, positions.numel() > tokens, positions, regions)
        request = Request(
            projected=projected, heads=heads, plan=plan, scale=scale, bias=bias, padding=padding
        )
        out = reference.attention(request, backend="reference")
        pairs = [(x, dg) for x, dg in zip(leaves[1:], incoming, strict=True) if x is not None]
        first = torch.autograd.grad(out, [x for x, _ in pairs], grad, create_graph=True)
        second = iter(
            torch.autograd.grad(
                first, [x for x in leaves if x is not None], [dg for _, dg in pairs]
            )
        )
    found = [None if x is None else next(second) for x in leaves]
    return *found, *(None,) * (_ARGUMENTS - 3 + 2)


window_attention_backward.register_autograd(_differentiate_backward, setup_context=_save_backward)
loop_over_batch(window_attention_forward)
loop_over_batch(window_attention_backward)


class _Direct(torch.autograd.Function):
    """The operator without its registration, which costs as much as a small problem."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        output = kernels_for(arguments[0]).forward(*arguments)
        _save_forward(ctx, arguments, output)
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        # Asked for with create_graph, the operator's gradients have gradients themselves.
        again = torch.is_grad_enabled()
        direct = kernels_for(grads[0]).backward
        return _first_gradients(ctx, grads[0], window_attention_backward if again else direct)


def _forward_flops(
    projected_shape: Any,
    bias_shape: Any,
    padding_shape: Any,
    positions_shape: Any,
    *_: Any,
    **__: Any,
) -> int:
    """Two products of each query with each key of its window."""
    batch, _, width = projected_shape
    windows, size = positions_shape
    return 4 * batch * windows * size * size * (width // 3)


def _backward_flops(grad_shape: Any, *shapes: Any, **options: Any) -> int:
    return 5 * _forward_flops(*shapes, **options) // 2


register_flop_formula(torch.ops.headway.window_attention_forward)(_forward_flops)
register_flop_formula(torch.ops.headway.window_attention_backward)(_backward_flops)
