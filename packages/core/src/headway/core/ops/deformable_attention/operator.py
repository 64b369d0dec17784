"""The kernels as torch.library operators, and as they are called where nobody watches."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from headway.core.ops.deformable_attention import reference
from headway.core.ops.deformable_attention.native import launch
from headway.core.ops.kernels import interpreted
from headway.core.ops.kernels.operators import fold_into_batch
from headway.core.ops.tracing import readable
from headway.core.private_torch import has_dispatch_mode

_INPUTS = 3


def attention(
    value: Tensor, locations: Tensor, weights: Tensor, levels: Sequence[tuple[int, int]]
) -> Tensor:
    """The output of a call that the native or the Triton backend lets pass.

    Shape:
        (B, Q, H * D).
    """
    flat = [size for level in levels for size in level]
    # Whoever watches operators (flop counters, selective checkpoints, fake tensors) sees one.
    if not readable(value) or has_dispatch_mode():
        return deformable_attention_forward(value, locations, weights, flat)
    return _Direct.apply(value, locations, weights, flat)


@torch.library.custom_op("headway::deformable_attention_forward", mutates_args=())
def deformable_attention_forward(
    value: Tensor, locations: Tensor, weights: Tensor, levels: list[int]
) -> Tensor:
    """Values at positions between tokens; see `headway.core.ops.deformable_attention`."""
    return _kernels(value).forward(value, locations, weights, levels)


@deformable_attention_forward.register_fake
def _(value: Tensor, locations: Tensor, weights: Tensor, levels: list[int]) -> Tensor:
    return value.new_empty(*locations.shape[:2], value.shape[2] * value.shape[3])


@torch.library.custom_op("headway::deformable_attention_backward", mutates_args=())
def deformable_attention_backward(
    grad: Tensor, value: Tensor, locations: Tensor, weights: Tensor, levels: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the first three arguments of `deformable_attention_forward`."""
    return _kernels(value).backward(grad, value, locations, weights, levels)


@deformable_attention_backward.register_fake
def _(
    grad: Tensor, value: Tensor, locations: Tensor, weights: Tensor, levels: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    first, second, third = (x.new_empty(x.shape) for x in (value, locations, weights))
    return first, second, third


fold_into_batch(deformable_attention_forward)
fold_into_batch(deformable_attention_backward)


def native_runs(value: Tensor) -> bool:
    """Whether the C++ kernels are the ones to run; interpreted Triton kernels are asked for by flag."""
    return value.is_cpu and not interpreted()


def _kernels(value: Tensor) -> Any:
    if native_runs(value):
        return launch
    # Imported here, so that headway runs where triton is not installed.
    from headway.core.ops.deformable_attention.triton import launch as triton_launch

    return triton_launch


def _save_forward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    ctx.save_for_backward(*inputs[:_INPUTS])
    ctx.levels = inputs[_INPUTS]


def _first_gradients(
    ctx: Any, grad: Tensor, backward: Callable[..., tuple[Tensor, ...]]
) -> tuple[Tensor | None, ...]:
    return *backward(grad, *ctx.saved_tensors, ctx.levels), None


def _differentiate_forward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return _first_gradients(ctx, grad, deformable_attention_backward)


deformable_attention_forward.register_autograd(_differentiate_forward, setup_context=_save_forward)


def _save_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    del output
    ctx.save_for_backward(*inputs[: _INPUTS + 1])
    ctx.levels = inputs[_INPUTS + 1]


def _differentiate_backward(ctx: Any, *incoming: Tensor) -> tuple[Tensor | None, ...]:
    """Second derivatives: the first ones again, through the reference."""
    levels = list(zip(ctx.levels[::2], ctx.levels[1::2], strict=True))
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_() for x in ctx.saved_tensors]
        grad, value, locations, weights = leaves
        out = reference.attention(value, locations, weights, levels)
        first = torch.autograd.grad(out, leaves[1:], grad, create_graph=True)
        second = torch.autograd.grad(first, leaves, incoming)
    return *second, None


deformable_attention_backward.register_autograd(
    _differentiate_backward, setup_context=_save_backward
)


class _Direct(torch.autograd.Function):
    """The operator without its registration, which costs as much as a small problem."""

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, locations: Tensor, weights: Tensor, levels: list[int]
    ) -> Tensor:
        output = _kernels(value).forward(value, locations, weights, levels)
        _save_forward(ctx, (value, locations, weights, levels), output)
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        # Asked for with create_graph, the operator's gradients have gradients themselves.
        if torch.is_grad_enabled():
            return _first_gradients(ctx, grads[0], deformable_attention_backward)
        return _first_gradients(ctx, grads[0], _kernels(grads[0]).backward)


def _forward_flops(
    value_shape: Any, locations_shape: Any, weights_shape: Any, *_: Any, **__: Any
) -> int:
    """A multiplication and an addition for each of four tokens around each point."""
    batch, queries, heads, levels, points = weights_shape
    return 8 * batch * queries * heads * levels * points * value_shape[3]


def _backward_flops(grad_shape: Any, *shapes: Any, **options: Any) -> int:
    return 2 * _forward_flops(*shapes, **options)


register_flop_formula(torch.ops.headway.deformable_attention_forward)(_forward_flops)
register_flop_formula(torch.ops.headway.deformable_attention_backward)(_backward_flops)
