"""The fused kernels as torch.library operators: traceable, differentiable twice.

On the CPU they are C++, elsewhere Triton (and in Triton's interpreter).
"""

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from headway.core.ops.attention import reference
from headway.core.ops.attention.flops import backward_flops, forward_flops
from headway.core.ops.attention.folding import fold_backward, fold_forward
from headway.core.ops.attention.operands import (
    DIFFERENTIABLE,
    NAMES,
    SCHEMA,
    TENSORS,
    arguments,
    request_of,
)
from headway.core.ops.attention.request import Request
from headway.core.ops.attention.results import Wanted, empty_outputs, empty_rows
from headway.core.ops.kernels import interpreted

_GRADIENTS = ", ".join(["Tensor"] * len(DIFFERENTIABLE))
_COUNT, _ARGUMENTS = len(DIFFERENTIABLE), len(NAMES)
_MORE = "Tensor grad_out, Tensor? grad_lse, Tensor out, Tensor lse, bool[] wanted"


def attention(request: Request) -> tuple[Tensor, Tensor]:
    """The output and the log-sum-exp of a request that the backend of its device lets pass.

    Shape:
        (B, H, T, Dv) and float32 (B, H, T).
    """
    return attention_forward(*arguments(request))


def _kernels(query: Tensor) -> ModuleType:
    # Imported here: headway runs where triton is not installed, or no compiler.
    if query.is_cpu and not interpreted():
        from headway.core.ops.attention.native import launch
    else:
        from headway.core.ops.attention.triton import launch
    return launch


@torch.library.custom_op(
    "headway::attention_forward", mutates_args=(), schema=f"({SCHEMA}) -> (Tensor, Tensor)"
)
def attention_forward(*values: Any) -> tuple[Tensor, Tensor]:
    """Fused attention; see `headway.core.ops.attention`."""
    request = request_of(*values)
    return _kernels(request.query).forward(request)


@attention_forward.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    del key, rest
    return empty_outputs(query, value)


@torch.library.custom_op(
    "headway::attention_backward",
    mutates_args=(),
    schema=f"({SCHEMA}, {_MORE}) -> ({_GRADIENTS})",
)
def attention_backward(*values: Any) -> tuple[Tensor, ...]:
    """Gradients of the differentiable arguments of `attention_forward`.

    `wanted` is for those from the bias on; where it is False the gradient is empty.
    """
    request = request_of(*values[:_ARGUMENTS])
    *rows, wanted = values[_ARGUMENTS:]
    return tuple(_kernels(request.query).backward(request, *rows, Wanted(*wanted)))


@attention_backward.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    others = [
        given.new_empty(given.shape) if want else query.new_empty(0)
        for given, want in zip(rest[:7], rest[-1], strict=True)
    ]
    if rest[-1][5]:
        others[5] = empty_rows(rest[5])
    bias, slopes, table, scales, sinks, relative, distances = others
    rows = (empty_rows(query), empty_rows(key), empty_rows(value))
    return *rows, bias, slopes, table, scales, sinks, relative, distances


def _save_forward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[: len(TENSORS)], *output)
    ctx.numbers = inputs[len(TENSORS) :]
    ctx.set_materialize_grads(False)


def differentiate_forward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    """Gradients of all arguments of `attention_forward`, which can be differentiated again."""

    def run(request: Request, *rest: Any) -> tuple[Tensor, ...]:
        return attention_backward(*arguments(request), *rest)

    return first_gradients(ctx, grads, run)


def first_gradients(
    ctx: Any, grads: tuple[Tensor | None, ...], backward: Callable[..., tuple[Tensor, ...]]
) -> tuple[Tensor | None, ...]:
    """Gradients of all arguments of `attention_forward` by a function of `launch.backward`'s form."""
    grad_out, grad_lse = grads
    if grad_out is None and grad_lse is None:
        return (None,) * _ARGUMENTS
    *tensors, out, lse = ctx.saved_tensors
    if grad_out is None:
        grad_out = torch.zeros_like(out)
    wanted = Wanted(*(ctx.needs_input_grad[n] for n in range(3, _COUNT)))
    request = request_of(*tensors, *ctx.numbers)
    found = backward(request, grad_out, grad_lse, out, lse, wanted)
    others = [grad if want else None for grad, want in zip(found[3:], wanted, strict=True)]
    return *found[:3], *others, *(None,) * (_ARGUMENTS - _COUNT)


attention_forward.register_autograd(differentiate_forward, setup_context=_save_forward)


def _save_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    del output
    grad_out, grad_lse, _, _, wanted = inputs[_ARGUMENTS:]
    ctx.save_for_backward(*inputs[: len(TENSORS)], grad_out, grad_lse)
    ctx.numbers, ctx.wanted = inputs[len(TENSORS) : _ARGUMENTS], [True, True, True, *wanted]
    ctx.set_materialize_grads(False)


def _differentiate_backward(ctx: Any, *incoming: Tensor | None) -> tuple[Tensor | None, ...]:
    """Second derivatives: the first ones again, through the reference.

    `out` and `lse` are functions of the other inputs, whose full derivative is taken here; they
    receive none of their own.
    """
    *tensors, grad_out, grad_lse = ctx.saved_tensors
    with torch.enable_grad():
        leaves: list[Any] = [
            None if x is None else x.detach().requires_grad_()
            for x in (*tensors[:_COUNT], grad_out, grad_lse)
        ]
        *given, grad_out, grad_lse = leaves
        out, lse = reference.attention(request_of(*given, *tensors[_COUNT:], *ctx.numbers))
        outputs, grads = [out], [grad_out]
        if grad_lse is not None:
            outputs, grads = [out, lse], [grad_out, grad_lse]
        pairs = [
            (x, dg)
            for x, dg, want in zip(given, incoming, ctx.wanted, strict=True)
            if x is not None and dg is not None and want
        ]
        first = torch.autograd.grad(
            outputs, [x for x, _ in pairs], grads, create_graph=True, allow_unused=True
        )
        used = [(g, dg) for g, (_, dg) in zip(first, pairs, strict=True) if g is not None]
        present = [x for x in leaves if x is not None]
        second = iter(
            torch.autograd.grad(
                [g for g, _ in used], present, [dg for _, dg in used], allow_unused=True
            )
        )
    found = [None if x is None else next(second) for x in leaves]
    return *found[:_COUNT], *(None,) * (_ARGUMENTS - _COUNT), *found[_COUNT:], None, None, None


attention_backward.register_autograd(_differentiate_backward, setup_context=_save_backward)

attention_forward.register_vmap(functools.partial(fold_forward, attention_forward))
attention_backward.register_vmap(functools.partial(fold_backward, attention_backward))
register_flop_formula(torch.ops.headway.attention_forward, get_raw=True)(forward_flops)
register_flop_formula(torch.ops.headway.attention_backward, get_raw=True)(backward_flops)
