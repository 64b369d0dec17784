"""Statistics by blocks of queries in plain PyTorch: any device, any dtype; the oracle."""

import torch
from torch import Tensor

from headway.core.ops.attention.request import Request
from headway.core.ops.attention.scores import added, allowed, valid_keys
from headway.core.ops.attention_statistics.request import AttentionStatistics, Question

# Scores that are held at a time.
_BLOCK = 2**22


def statistics(question: Question) -> AttentionStatistics:
    """Looks at as many queries at a time as fit into a fixed amount of memory."""
    request = question.attention
    batch, heads, queries, keys = request.shape
    step = max(1, _BLOCK // max(1, batch * heads * keys))
    key = _keys(request)
    lse, entropy, keys_found, weights_found = [], [], [], []
    received = None
    if question.rows is not None:
        received = key.new_zeros((batch, heads, keys))
    for start in range(0, queries, step):
        rows = slice(start, min(start + step, queries))
        scores = _scores(request, key, rows)
        block_lse = _log_sum(scores, request)
        finite = block_lse.masked_fill(block_lse == -torch.inf, 0.0)[..., None]
        weights = torch.exp(scores - finite)
        lse.append(block_lse)
        logs = (scores - finite).masked_fill(scores == -torch.inf, 0.0)
        entropy.append(-(weights * logs).sum(dim=-1))
        if received is not None and question.rows is not None:
            shares = question.rows[:, :, rows].to(weights.dtype)
            received += torch.einsum("bht,bhts->bhs", shares, weights)
        if question.top:
            most, positions = weights.topk(min(question.top, keys), dim=-1)
            seen = scores.gather(-1, positions) > -torch.inf
            keys_found.append(positions.masked_fill(~seen, -1))
            weights_found.append(most)
    return AttentionStatistics(
        lse=_joined(lse, key.new_empty(batch, heads, 0)),
        entropy=_joined(entropy, key.new_empty(batch, heads, 0)),
        received=received,
        top_keys=_filled(keys_found, question, -1, torch.int64),
        top_weights=_filled(weights_found, question, 0.0, key.dtype),
    )


def _keys(request: Request) -> Tensor:
    """Keys for every query head, in the type of the computation; zeros where there is none."""
    dtype = torch.float64 if request.query.dtype == torch.float64 else torch.float32
    key = request.key.to(dtype)
    valid = valid_keys(request)
    if valid is not None:
        key = key.masked_fill((~valid).movedim(-1, -2), 0.0)
    groups = request.query.shape[1] // key.shape[1]
    return key.repeat_interleave(groups, dim=1) if groups > 1 else key


def _scores(request: Request, key: Tensor, rows: slice) -> Tensor:
    scale = request.scale
    factor = scale.to(key.dtype)[:, None, None] if isinstance(scale, Tensor) else scale
    scores = (request.query[:, :, rows].to(key.dtype) * factor) @ key.transpose(-2, -1)
    if request.softcap is not None:
        scores = torch.tanh(scores / request.softcap) * request.softcap
    bias = added(request, rows)
    if bias is not None:
        scores = scores + bias.to(key.dtype)
    mask = allowed(request, rows)
    return scores if mask is None else scores.masked_fill(~mask, -torch.inf)


def _log_sum(scores: Tensor, request: Request) -> Tensor:
    if not scores.shape[-1]:
        scores = scores.new_full((*scores.shape[:-1], 1), -torch.inf)
    total = torch.logsumexp(scores, dim=-1)
    if request.sinks is None:
        return total
    return torch.logaddexp(total, request.sinks.to(scores.dtype)[:, None])


def _joined(parts: list[Tensor], empty: Tensor) -> Tensor:
    return torch.cat(parts, dim=2) if parts else empty


def _filled(
    parts: list[Tensor], question: Question, nothing: float, dtype: torch.dtype
) -> Tensor | None:
    """The parts with as many positions as were asked for, where there are fewer keys."""
    if not question.top:
        return None
    query = question.attention.query
    shape = (*query.shape[:3], question.top)
    filled = torch.full(shape, nothing, dtype=dtype, device=query.device)
    if parts:
        found = torch.cat(parts, dim=2)
        filled[..., : found.shape[-1]] = found
    return filled
