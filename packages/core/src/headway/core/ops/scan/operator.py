"""The selective scan as torch.library operators: traceable, differentiable twice."""

from typing import Any

import torch
from torch import Tensor

from headway.core.ops.derivatives import differentiate_gradients
from headway.core.ops.kernels.operators import loop_over_batch, register_flops
from headway.core.ops.scan import native, reference


@torch.library.custom_op("headway::selective_scan_forward", mutates_args=())
def selective_scan_forward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor, backend: str
) -> tuple[Tensor, Tensor]:
    """Output and last state; see `reference.selective_scan`."""
    return _runner(backend).forward(u, delta, A, B, C, state)


@selective_scan_forward.register_fake
def _(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor, backend: str
) -> tuple[Tensor, Tensor]:
    return u.new_empty(u.shape), state.new_empty(state.shape)


@torch.library.custom_op("headway::selective_scan_backward", mutates_args=())
def selective_scan_backward(
    grad: Tensor,
    grad_last: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of u, delta, A, B, C and state."""
    return _runner(backend).backward(grad, grad_last, u, delta, A, B, C, state)


@selective_scan_backward.register_fake
def _(
    grad: Tensor,
    grad_last: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    found = [x.new_empty(x.shape) for x in (u, delta, A, B, C, state)]
    return found[0], found[1], found[2], found[3], found[4], found[5]


def _save_forward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:6])
    ctx.backend = inputs[6]


def _differentiate_forward(ctx: Any, grad: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:
    return *selective_scan_backward(grad, grad_last, *ctx.saved_tensors, ctx.backend), None


selective_scan_forward.register_autograd(_differentiate_forward, setup_context=_save_forward)


def _save_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:8])


def _differentiate_backward(ctx: Any, *incoming: Tensor) -> tuple[Tensor | None, ...]:
    """Second derivatives: the first ones again, through the reference."""
    grad, grad_last, *inputs = ctx.saved_tensors
    found, seeds = differentiate_gradients(
        reference.selective_scan, inputs, (grad, grad_last), [True] * len(inputs), incoming
    )
    return *seeds, *found, None


selective_scan_backward.register_autograd(_differentiate_backward, setup_context=_save_backward)


def _runner(backend: str) -> Any:
    if backend == "native":
        return native
    from headway.core.ops.scan.triton import launch

    return launch


def _forward_flops(u: Any, delta: Any, A: Any, *_: Any, **__: Any) -> int:
    # Per state: the exponent, decay, input and output.
    return 8 * u[0] * u[1] * u[2] * A[1]


def _backward_flops(
    grad: Any, grad_last: Any, u: Any, delta: Any, A: Any, *_: Any, **__: Any
) -> int:
    # The states twice again, and the gradients of what made them.
    return 28 * u[0] * u[1] * u[2] * A[1]


loop_over_batch(selective_scan_forward)
loop_over_batch(selective_scan_backward)
register_flops(selective_scan_forward, _forward_flops)
register_flops(selective_scan_backward, _backward_flops)
