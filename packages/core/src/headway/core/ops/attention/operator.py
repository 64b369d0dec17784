"""The fused kernels as torch.library operators: traceable, differentiable twice.

Importing this module needs triton.
"""

from typing import Any

import torch
from torch import Tensor

from headway.core.ops.attention import reference
from headway.core.ops.attention.request import Causal, Request
from headway.core.ops.attention.triton import launch

_CAUSAL: dict[str, Causal] = {
    "none": False,
    "bottom-right": "bottom-right",
    "top-left": "top-left",
}


def attention(request: Request) -> tuple[Tensor, Tensor]:
    """The output and the log-sum-exp of a request that the Triton backend lets pass.

    Shape:
        (B, H, T, D) and float32 (B, H, T).
    """
    assert not isinstance(request.scale, Tensor)
    return attention_forward(
        request.query,
        request.key,
        request.value,
        request.bias,
        request.lengths,
        request.scale,
        request.causal or "none",
    )


@torch.library.custom_op("headway::attention_forward", mutates_args=())
def attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    lengths: Tensor | None,
    scale: float,
    causal: str,
) -> tuple[Tensor, Tensor]:
    """Fused attention; see `headway.core.ops.attention`."""
    return launch.forward(query, key, value, bias, lengths, scale, causal)


@attention_forward.register_fake
def _(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    lengths: Tensor | None,
    scale: float,
    causal: str,
) -> tuple[Tensor, Tensor]:
    return launch.empty_outputs(query)


@torch.library.custom_op("headway::attention_backward", mutates_args=())
def attention_backward(
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
    """Gradients of `attention_forward`; that of the bias is empty unless `bias_grad`."""
    return launch.backward(
        grad_out,
        grad_lse,
        query,
        key,
        value,
        bias,
        lengths,
        out,
        lse,
        scale,
        causal,
        bias_grad,
    )


@attention_backward.register_fake
def _(
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
    rows = (launch.empty_rows(query), launch.empty_rows(key), launch.empty_rows(value))
    if bias is None or not bias_grad:
        return *rows, query.new_empty(0)
    return *rows, bias.new_empty(bias.shape)


def _save_forward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, bias, lengths, scale, causal = inputs
    ctx.save_for_backward(query, key, value, bias, lengths, *output)
    ctx.scale, ctx.causal = scale, causal
    ctx.set_materialize_grads(False)


def _differentiate_forward(
    ctx: Any, grad_out: Tensor | None, grad_lse: Tensor | None
) -> tuple[Tensor | None, ...]:
    if grad_out is None and grad_lse is None:
        return (None,) * 7
    query, key, value, bias, lengths, out, lse = ctx.saved_tensors
    if grad_out is None:
        grad_out = torch.zeros_like(out)
    bias_grad = bias is not None and ctx.needs_input_grad[3]
    grads = attention_backward(
        grad_out,
        grad_lse,
        query,
        key,
        value,
        bias,
        lengths,
        out,
        lse,
        ctx.scale,
        ctx.causal,
        bias_grad,
    )
    return *grads[:3], grads[3] if bias_grad else None, None, None, None


attention_forward.register_autograd(_differentiate_forward, setup_context=_save_forward)


def _save_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    grad_out, grad_lse, query, key, value, bias, lengths, _, _, scale, causal, bias_grad = inputs
    ctx.save_for_backward(grad_out, grad_lse, query, key, value, bias, lengths)
    ctx.scale, ctx.causal, ctx.bias_grad = scale, causal, bias_grad


def _differentiate_backward(ctx: Any, *incoming: Tensor | None) -> tuple[Tensor | None, ...]:
    """Second derivatives: the first ones again, through the reference.

    `out` and `lse` are functions of the other inputs, whose full derivative is taken here; they
    receive none of their own.
    """
    names = ("grad_out", "grad_lse", "query", "key", "value", "bias")
    *saved, lengths = ctx.saved_tensors
    with torch.enable_grad():
        given = {
            name: tensor if tensor is None else tensor.detach().requires_grad_()
            for name, tensor in zip(names, saved, strict=True)
        }
        query, key, value, bias = (given[name] for name in names[2:])
        assert query is not None
        assert key is not None
        assert value is not None
        out, lse = reference.attention(_request(query, key, value, bias, lengths, ctx))
        wanted = [query, key, value, *([bias] if bias is not None and ctx.bias_grad else [])]
        outputs, grads = [out], [given["grad_out"]]
        if given["grad_lse"] is not None:
            outputs, grads = [out, lse], [given["grad_out"], given["grad_lse"]]
        first = torch.autograd.grad(outputs, wanted, grads, create_graph=True, allow_unused=True)
        pairs = [
            (g, dg)
            for g, dg in zip(first, incoming, strict=False)
            if g is not None and dg is not None
        ]
        leaves = [tensor for tensor in given.values() if tensor is not None]
        second = iter(
            torch.autograd.grad(
                [g for g, _ in pairs], leaves, [dg for _, dg in pairs], allow_unused=True
            )
        )
    by_name = {name: None if tensor is None else next(second) for name, tensor in given.items()}
    return *(by_name[name] for name in names), None, None, None, None, None, None


attention_backward.register_autograd(_differentiate_backward, setup_context=_save_backward)


def _request(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, lengths: Tensor | None, ctx: Any
) -> Request:
    return Request(
        query=query,
        key=key,
        value=value,
        bias=bias,
        lengths=lengths,
        causal=_CAUSAL[ctx.causal],
        scale=ctx.scale,
    )
