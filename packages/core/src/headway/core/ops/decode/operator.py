"""Decode attention as a torch.library operator; its gradients are products that can be differentiated."""

from typing import Any

import torch
from torch import Tensor

from headway.core.ops.decode import native, reference
from headway.core.ops.kernels.operators import fold_into_batch, register_flops


@torch.library.custom_op("headway::decode_attention", mutates_args=())
def decode_attention(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    lengths: Tensor,
    window: int | None,
    scale: float,
    backend: str,
) -> Tensor:
    """Attention of a few queries to a cache; see `headway.core.ops.decode_attention`."""
    if backend == "native":
        return native.decode_attention(query, keys, values, lengths, window, scale)
    from headway.core.ops.decode.triton import launch

    return launch.decode_attention(query, keys, values, lengths, window, scale)


@decode_attention.register_fake
def _(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    lengths: Tensor,
    window: int | None,
    scale: float,
    backend: str,
) -> Tensor:
    batch, heads, tokens = query.shape[:3]
    return query.new_empty((batch, tokens, heads, values.shape[3])).transpose(1, 2)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.window, ctx.scale, _ = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
    query, keys, values, lengths = ctx.saved_tensors
    kv_heads, tokens = keys.shape[1], query.shape[2]
    weights = reference.attention_weights(query, keys, lengths, ctx.window, ctx.scale)
    seen = reference.seen_keys(tokens, keys.shape[2], lengths, ctx.window).any(dim=2)
    hidden = ~seen[:, :, :, None]
    dtype = weights.dtype
    grad = reference.grouped(grad_out.to(dtype), kv_heads)
    wide_keys = keys.to(dtype).masked_fill(hidden, 0.0)
    along = grad @ values.to(dtype).masked_fill(hidden, 0.0).mT
    scores = weights * (along - (weights * along).sum(dim=-1, keepdim=True)) * ctx.scale
    grad_query = reference.ungrouped(scores @ wide_keys, tokens)
    grad_keys = scores.mT @ reference.grouped(query.to(dtype), kv_heads)
    grad_values = weights.mT @ grad
    return (
        grad_query.to(query.dtype),
        grad_keys.to(keys.dtype),
        grad_values.to(values.dtype),
        *(None,) * 4,
    )


decode_attention.register_autograd(_differentiate, setup_context=_save)
fold_into_batch(decode_attention)


def _flops(query: Any, keys: Any, values: Any, *_: Any, **__: Any) -> int:
    batch, heads, tokens, channels = query
    # As if every row were full: how long they are is not known from the shapes.
    return 2 * batch * heads * tokens * keys[2] * (channels + values[3])


register_flops(decode_attention, _flops)
