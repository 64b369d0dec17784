"""Causal linear attention as torch.library operators: traceable, differentiable twice."""

from typing import Any

import torch
from torch import Tensor

from headway.core.ops.derivatives import differentiate_gradients
from headway.core.ops.kernels.operators import fold_into_batch, register_flops
from headway.core.ops.linear_attention import chunked, reference


@torch.library.custom_op("headway::linear_attention_forward", mutates_args=())
def linear_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor | None,
    state: Tensor,
    normalize: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Output, sums of weights (empty unless `normalize`) and the last state."""
    return _runner(backend).forward(query, key, value, log_decay, state, normalize)


@linear_attention_forward.register_fake
def _(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor | None,
    state: Tensor,
    normalize: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    out, total = chunked.empty_outputs(query, value, normalize)
    return out, total, state.new_empty(state.shape)


@torch.library.custom_op("headway::linear_attention_backward", mutates_args=())
def linear_attention_backward(
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
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of query, key, value, log_decay (empty if None) and state."""
    return _runner(backend).backward(
        grad_out, grad_state, query, key, value, log_decay, state, out, total, normalize
    )


@linear_attention_backward.register_fake
def _(
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
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    grads, decay = chunked.empty_gradients(query, key, value, log_decay)
    return grads[0], grads[1], grads[2], decay, state.new_empty(state.shape)


def _save_forward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, normalize, backend = inputs
    ctx.save_for_backward(*tensors, *output[:2])
    ctx.normalize, ctx.backend = normalize, backend
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _differentiate_forward(
    ctx: Any, grad_out: Tensor | None, _: Any, grad_state: Tensor | None
) -> tuple[Tensor | None, ...]:
    if grad_out is None and grad_state is None:
        return (None,) * 7
    query, key, value, log_decay, state, out, total = ctx.saved_tensors
    grads = linear_attention_backward(
        torch.zeros_like(out) if grad_out is None else grad_out,
        grad_state,
        query,
        key,
        value,
        log_decay,
        state,
        out,
        total,
        ctx.normalize,
        ctx.backend,
    )
    return *grads[:3], None if log_decay is None else grads[3], grads[4], None, None


linear_attention_forward.register_autograd(_differentiate_forward, setup_context=_save_forward)


def _save_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:7])
    ctx.normalize = inputs[9]
    ctx.set_materialize_grads(False)


def _differentiate_backward(ctx: Any, *incoming: Tensor | None) -> tuple[Tensor | None, ...]:
    """Second derivatives: the first ones again, through the reference.

    `out` and `total` are functions of the other inputs, whose full derivative is taken here.
    """
    grad_out, grad_state, *inputs = ctx.saved_tensors

    def function(
        query: Tensor, key: Tensor, value: Tensor, log_decay: Tensor | None, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        return composite(query, key, value, log_decay, state, ctx.normalize)

    found, seeds = differentiate_gradients(
        function, inputs, (grad_out, grad_state), [True] * len(inputs), incoming
    )
    return *seeds, *found, None, None, None, None


linear_attention_backward.register_autograd(_differentiate_backward, setup_context=_save_backward)
fold_into_batch(linear_attention_forward)
fold_into_batch(linear_attention_backward)


def composite(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor | None,
    state: Tensor,
    normalize: bool,
) -> tuple[Tensor, Tensor]:
    """The reference with the arguments of the operator: the output and the last state."""
    dtype = torch.promote_types(query.dtype, torch.float32)
    wide = [x.to(dtype) for x in (query, key, value)]
    if normalize:
        wide[2] = reference.with_ones(wide[2])
    sums, last = reference.weighted_sums(wide[0], wide[1], wide[2], log_decay, state)
    out = reference.average(sums) if normalize else sums
    return out.to(value.dtype), last


def _runner(backend: str) -> Any:
    if backend == "chunked":
        return chunked
    from headway.core.ops.linear_attention.triton import launch

    return launch


def _forward_flops(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    batch, heads, tokens, channels = query
    # Both products within chunks, and both with the state.
    within = reference.CHUNK * (channels + value[3])
    return 2 * batch * heads * tokens * (within + 2 * channels * value[3])


def _backward_flops(
    grad_out: Any, grad_state: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any
) -> int:
    batch, heads, tokens, channels = query
    # Two products forward are four backward, and scores and states are made again.
    within = reference.CHUNK * (3 * channels + 2 * value[3])
    return 2 * batch * heads * tokens * (within + 5 * channels * value[3])


register_flops(linear_attention_forward, _forward_flops)
register_flops(linear_attention_backward, _backward_flops)
