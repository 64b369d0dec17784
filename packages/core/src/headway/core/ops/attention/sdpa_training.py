"""PyTorch's scaled_dot_product_attention with what its CPU kernel lacks in training.

That kernel has no second derivative, and in half precision its backward is slower than a detour
through float32. Both are mended here; everything else goes straight through.
"""

import functools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from headway.core.ops.attention import reference
from headway.core.ops.attention.request import Request, same_size
from headway.core.private_torch import (
    chosen_sdp_backend,
    flash_for_cpu,
    flash_for_cpu_backward,
    in_transform,
)

_FLASH = 1  # torch.nn.attention.SDPBackend.FLASH_ATTENTION, as the choice below returns it
# Keys up to which bfloat16 trains faster through float32 on a CPU that multiplies bfloat16:
# forward and backward 3.0x at 49 keys, 1.0x at 197, 0.8x at 1024 (AMD EPYC, avx512_bf16).
_SHORT = 256


def scaled_dot_product(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    dropout: float = 0.0,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """As `torch.nn.functional.scaled_dot_product_attention`; key heads may divide query heads.

    Args:
        query: Queries.
        key: Keys.
        value: Values.
        mask: True where attention is allowed, or an additive mask.
        dropout: Probability that a weight is dropped.
        causal: Top-left causal mask; only without `mask`.
        scale: Factor of the scores; 1 / sqrt(D) if None.

    Shape:
        As there, with four dimensions.
    """
    # Not the comparison itself: of sizes that are free in a graph it is a symbol, which SDPA refuses; two
    # that may differ are taken as if they did.
    grouped = not same_size(query.shape[1], key.shape[1])
    eager = (
        query.is_cpu
        and torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        # torch.func differentiates the plain function by itself.
        and not in_transform()
    )
    if (
        eager
        and mask is not None
        and mask.requires_grad
        and dropout == 0.0
        and not grouped
        # Infinities may leave a row without any key, whose weights are zero there and NaN here.
        and math.isfinite(mask.detach().sum().item())
    ):
        return _unfused(query, key, value, mask, scale)
    if (
        eager
        and (query.requires_grad or key.requires_grad or value.requires_grad)
        and chosen_sdp_backend(
            *(query, key, value, mask, dropout, causal), scale=scale, enable_gqa=grouped
        )
        == _FLASH
    ):
        if mask is not None and mask.dtype == torch.bool:
            mask = torch.where(mask, 0.0, -torch.inf).to(query.dtype)
        return _Fused.apply(query, key, value, mask, causal, scale)
    arguments: dict[str, Any] = {
        "dropout_p": dropout,
        "is_causal": causal,
        "scale": scale,
        "enable_gqa": grouped,
    }
    if _is_trained_graph(query) and _trains_wide(query, key):
        # A graph that is trained makes the same detour. Autocast would turn it back.
        with torch.autocast("cpu", enabled=False):
            inputs = _widened(True, query, key, value)
            added = mask if mask is None or mask.dtype == torch.bool else mask.float()
            out = F.scaled_dot_product_attention(*inputs, attn_mask=added, **arguments)
            return out.to(query.dtype)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, **arguments)


def _is_trained_graph(query: Tensor) -> bool:
    exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)
    return (
        query.is_cpu
        and torch.compiler.is_compiling()
        and torch.is_grad_enabled()
        and not exporting()
    )


def _unfused(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor, scale: float | None
) -> Tensor:
    """What SDPA does where a bias has a gradient, in fewer passes over the scores."""
    factor = query.shape[3] ** -0.5 if scale is None else scale
    scores_bhts = torch.matmul(query * factor, key.mT).add_(bias)
    return scores_bhts.softmax(dim=-1).to(value.dtype) @ value


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        causal: bool,
        scale: float | None,
    ) -> Tensor:
        ctx.causal, ctx.scale, ctx.wide = causal, scale, _trains_wide(query, key)
        inputs = _widened(ctx.wide, query, key, value)
        mask = mask.float() if ctx.wide and mask is not None else mask
        out, lse = flash_for_cpu(*inputs, 0.0, causal, attn_mask=mask, scale=scale)
        ctx.save_for_backward(query, key, value, mask, out, lse)
        return out.to(query.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, mask, out, lse = ctx.saved_tensors
        if torch.is_grad_enabled():
            # Asked for with create_graph: the same gradients, of a kind that can be differentiated.
            found = _composite(query, key, value, mask, grads[0], ctx)
        else:
            inputs = _widened(ctx.wide, grads[0], query, key, value)
            found = flash_for_cpu_backward(
                *inputs, out, lse, 0.0, ctx.causal, attn_mask=mask, scale=ctx.scale
            )
            found = tuple(grad.to(query.dtype) for grad in found)
        return *found, None, None, None


def _composite(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, grad: Tensor, ctx: Any
) -> tuple[Tensor, ...]:
    inputs = [x if x.requires_grad else x.detach().requires_grad_() for x in (query, key, value)]
    request = Request(
        query=inputs[0],
        key=inputs[1],
        value=inputs[2],
        bias=mask,
        causal="top-left" if ctx.causal else False,
        scale=query.shape[3] ** -0.5 if ctx.scale is None else ctx.scale,
    )
    out, _ = reference.attention(request)
    return torch.autograd.grad(out, inputs, grad, create_graph=True)


def _widened(wide: bool, *tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(x.float() for x in tensors) if wide else tensors


def _trains_wide(query: Tensor, key: Tensor) -> bool:
    if query.dtype == torch.bfloat16:
        return key.shape[2] <= _SHORT or not multiplies_bfloat16()
    return query.dtype == torch.float16


@functools.cache
def multiplies_bfloat16() -> bool:
    """Whether the CPU has instructions for products of bfloat16 numbers."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
