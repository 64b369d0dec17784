"""Attention in plain PyTorch: every option, every dtype, any order of derivative; the oracle."""

import torch
from torch import Tensor

from headway.core.ops.attention.request import Request
from headway.core.ops.attention.scores import added, allowed, valid_keys
from headway.core.ops.draws import kept_positions
from headway.core.ops.kernels.operators import autocast_type


def reason_against(request: Request) -> str | None:
    """None: the reference takes every request."""
    del request
    return None


def attention(request: Request) -> tuple[Tensor, Tensor]:
    """Softmax attention, computed in float32 (float64 for float64 inputs).

    Returns:
        The output in the dtype of the queries and the log-sum-exp of the scores in that of the
        computation; -inf for a row with nothing to attend to.

    Shape:
        (B, H, T, Dv) and (B, H, T).

    Source:
        Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, eq. 1; grouped keys: Ainslie et al.
        2023, https://arxiv.org/abs/2305.13245; slopes: Press et al. 2022,
        https://arxiv.org/abs/2108.12409; cap: Gemma Team 2024, https://arxiv.org/abs/2408.00118;
        sinks: Xiao et al. 2024, https://arxiv.org/abs/2309.17453.
    """
    if autocast_type(request.query) is None:
        return _attend(request)
    with torch.autocast(request.query.device.type, enabled=False):
        return _attend(request)


def _attend(request: Request) -> tuple[Tensor, Tensor]:
    dtype = torch.float64 if request.query.dtype == torch.float64 else torch.float32
    query, key, value = (x.to(dtype) for x in (request.query, request.key, request.value))
    valid = valid_keys(request)
    if valid is not None:
        missing = (~valid).movedim(-1, -2)
        key, value = key.masked_fill(missing, 0.0), value.masked_fill(missing, 0.0)
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    scale = request.scale
    query = query * (scale.to(dtype)[:, None, None] if isinstance(scale, Tensor) else scale)
    scores_bhts = query @ key.transpose(-2, -1)
    if request.softcap is not None:
        scores_bhts = torch.tanh(scores_bhts / request.softcap) * request.softcap
    bias = added(request)
    if bias is not None:
        scores_bhts = scores_bhts + bias.to(dtype)
    mask = allowed(request)
    if mask is not None:
        scores_bhts = scores_bhts.masked_fill(~mask, -torch.inf)
    weights_bhts, lse_bht = _softmax(scores_bhts, request.sinks)
    if request.dropout > 0.0:
        weights_bhts = weights_bhts * _kept(request, weights_bhts) / (1.0 - request.dropout)
    return (weights_bhts @ value).to(request.query.dtype), lse_bht


def _softmax(scores: Tensor, sinks: Tensor | None) -> tuple[Tensor, Tensor]:
    """Softmax and log-sum-exp in which an empty row has zero weights and -inf."""
    top = (
        scores.detach().amax(dim=-1, keepdim=True)
        if scores.shape[-1]
        else scores.new_full((*scores.shape[:-1], 1), -torch.inf)
    )
    if sinks is not None:
        sinks = sinks.to(scores.dtype)[:, None, None]
        top = torch.maximum(top, sinks.detach())
    top = top.masked_fill(top == -torch.inf, 0.0)
    weights = torch.exp(scores - top)
    total = weights.sum(dim=-1, keepdim=True)
    if sinks is not None:
        total = total + torch.exp(sinks - top)
    empty = total == 0.0
    total = total.masked_fill(empty, 1.0)
    lse = (top + torch.log(total)).masked_fill(empty, -torch.inf)
    return weights / total, lse.squeeze(-1)


def _kept(request: Request, weights: Tensor) -> Tensor:
    """One where a weight stays and zero where it is dropped."""
    if request.seed is None:
        return (torch.rand_like(weights) >= request.dropout).to(weights.dtype)
    numbers = torch.arange(weights.numel(), device=weights.device).view(weights.shape)
    return kept_positions(numbers, request.seed, request.dropout).to(weights.dtype)
