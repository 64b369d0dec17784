"""Window attention as windows that are cut out, attended to and put back; any device and dtype."""

import torch
from torch import Tensor

from headway.core.ops.attention import attention as softmax_attention
from headway.core.ops.window_attention.plan import Plan
from headway.core.ops.window_attention.request import Request


def attention(request: Request, backend: str = "auto") -> Tensor:
    """Softmax attention within each window.

    Args:
        request: What is asked for.
        backend: Of the attention within the windows.

    Shape:
        (B, N, H * D).

    Source:
        Liu et al. 2021 (Swin), https://arxiv.org/abs/2103.14030, section 3.2 and eq. 4.
    """
    plan = request.plan
    windows = split(request.projected, plan, request.padding)
    query, key, value = (
        part.unflatten(-1, (request.heads, -1)).transpose(1, 2) for part in windows.chunk(3, dim=-1)
    )
    out = softmax_attention(
        query,
        key,
        value,
        bias=request.bias,
        mask=seen(plan, request.projected),
        scale=request.scale,
        backend=backend,
    )
    return join(out.transpose(1, 2).flatten(2), plan)


def split(tokens: Tensor, plan: Plan, padding: Tensor | None) -> Tensor:
    """The windows of (B, N, C) as (B * windows, S, C); positions without a token hold `padding`."""
    positions = plan.positions
    if plan.has_padding:
        row = tokens.new_zeros(1) if padding is None else padding.to(tokens.dtype)
        spare = row.expand(tokens.shape[0], 1, tokens.shape[2])
        # The last of all, so that -1 is its number.
        tokens = torch.cat([tokens, spare], dim=1)
        positions = positions % tokens.shape[1]
    return tokens[:, positions.flatten()].unflatten(1, positions.shape).flatten(0, 1)


def join(windows: Tensor, plan: Plan) -> Tensor:
    """What `split` took apart, (B, N, C)."""
    # Sorted, the tokens come in their order behind all positions that hold none.
    back = torch.argsort(plan.positions.flatten())[plan.positions.numel() - plan.tokens :]
    return windows.unflatten(0, (-1, plan.positions.shape[0])).flatten(1, 2)[:, back]


def seen(plan: Plan, tokens: Tensor) -> Tensor | None:
    """Which pairs of a window may meet, (B * windows, 1, S, S); None if all may."""
    if plan.regions is None:
        return None
    pairs = (plan.regions[:, :, None] == plan.regions[:, None])[None, :, None]
    # Not len(tokens): that would fix the batch size of an export.
    return pairs.expand(tokens.shape[0], -1, -1, -1, -1).flatten(0, 1)
