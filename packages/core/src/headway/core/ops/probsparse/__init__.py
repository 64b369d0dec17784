"""ProbSparse attention: the few queries that prefer some keys attend, all others take an average."""

import math

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.ops.attention import attention
from headway.core.ops.kernels.machine import reason_against as reason_against_device
from headway.core.ops.kernels.operators import autocast, without_autocast
from headway.core.ops.probsparse import reference
from headway.core.ops.probsparse.operator import probsparse_measure
from headway.core.ops.probsparse.reference import sample_keys, sparse_number
from headway.core.private_torch import in_transform

__all__ = ["probsparse_attention", "reason_against", "sample_keys", "sparse_number"]
_BACKENDS = ("auto", "reference", "blocked", "triton")
_WIDEST = 128


def probsparse_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    sample: Tensor,
    factor: float = 5.0,
    sample_mask: Tensor | None = None,
    query_mask: Tensor | None = None,
    key_mask: Tensor | None = None,
    causal: bool = False,
    cumulative: bool = False,
    scale: float | None = None,
    backend: str = "auto",
) -> Tensor:
    """Lets the queries whose scores are the least uniform attend; the others take the mean value.

    A query is measured by the largest minus the mean of its scores against a sample of the keys. With
    ``causal`` the others take the sum of the values so far, as the published code does. Where every
    query is chosen nothing is measured: it is `attention`.

    The sample is the same for every head and query, so the measure is a single matrix product and the
    keys are not copied for each query.

    Args:
        query: Queries.
        key: Keys.
        value: Values.
        sample: Positions of the sampled keys.
        factor: How many queries attend: ``sparse_number`` of the real ones.
        sample_mask: False where a position of the sample does not count.
        query_mask: True where a query is real.
        key_mask: True where a key is real.
        causal: Whether a query sees only the keys up to its own position (as many keys as queries).
        cumulative: Whether the others take the sum of the values so far, without ``causal`` too.
        scale: Of the scores; ``1 / sqrt(D)`` if None.
        backend: "auto", "reference" (plain PyTorch), or who measures: "blocked" or "triton". The chosen
            queries go to `attention`.

    Shape:
        query: (B, H, T, D). key, value: (B, H, S, D). sample: (U,) or (B, U), sample_mask the same.
        query_mask: (B, T). key_mask: (B, S). Output: (B, H, T, D).

    Raises:
        UserError: If sizes do not fit, or if the backend cannot do what is asked for.

    Source:
        Zhou et al. 2020, https://arxiv.org/abs/2012.07436, eq. 3-4 and algorithm 1.
    """
    _check(query, key, value, causal or cumulative, backend)
    query, key, value = autocast(query, key, value)
    chosen = _choose(query, backend)
    scale = 1 / math.sqrt(query.shape[3]) if scale is None else scale
    with without_autocast(query):
        if not isinstance(query.shape[2], int) or not isinstance(key.shape[2], int):
            chosen = "reference"
        if chosen == "reference":
            return reference.probsparse_attention(
                query,
                key,
                value,
                sample=sample,
                factor=factor,
                sample_mask=sample_mask,
                query_mask=query_mask,
                key_mask=key_mask,
                causal=causal,
                cumulative=cumulative,
                scale=scale,
            )
        number = sparse_number(query.shape[2], factor)
        if number == query.shape[2] and query_mask is None:
            mask = None if key_mask is None else key_mask[:, None, None, :]
            return attention(query, key, value, mask=mask, causal=causal, scale=scale)
        if key_mask is not None:
            hidden = ~key_mask[:, None, :, None]
            key, value = key.masked_fill(hidden, 0.0), value.masked_fill(hidden, 0.0)
        positions = _choose_queries(
            query, key, sample, sample_mask, query_mask, key_mask, number, chosen
        )
        cumulative = causal or cumulative
        return _attend(
            query, key, value, positions, factor, query_mask, key_mask, causal, cumulative, scale
        )


def reason_against(query: Tensor) -> str | None:
    """Why the Triton kernel cannot run, with the remedy, or None if it can."""
    if query.dtype == torch.float64:
        return "triton: float64 has no kernel; use backend='blocked'"
    if query.shape[3] > _WIDEST:
        return f"triton: head width {query.shape[3]} is above {_WIDEST}; use backend='blocked'"
    return reason_against_device(query.device)


def _choose_queries(
    query: Tensor,
    key: Tensor,
    sample: Tensor,
    sample_mask: Tensor | None,
    query_mask: Tensor | None,
    key_mask: Tensor | None,
    number: int,
    backend: str,
) -> Tensor:
    """The positions of the queries that attend, the most peaked first, (B, H, number)."""
    batch, keys = query.shape[0], key.shape[2]
    sample = sample.to(key.device).expand(batch, -1)
    if sample_mask is not None:
        sample_mask = sample_mask.expand(batch, -1)
    if key_mask is not None:
        counts = key_mask.sum(dim=1).clamp_min(1)
    else:
        counts = torch.full((batch,), keys, device=key.device)
    with torch.no_grad():
        measure = probsparse_measure(
            query.detach(), key.detach(), sample, sample_mask, counts, backend
        )
        if query_mask is not None:
            measure = measure.masked_fill(~query_mask[:, None], -math.inf)
        return measure.topk(number, dim=-1).indices


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    positions: Tensor,
    factor: float,
    query_mask: Tensor | None,
    key_mask: Tensor | None,
    causal: bool,
    cumulative: bool,
    scale: float,
) -> Tensor:
    """What the chosen queries see, among what the others take."""
    queries, keys = query.shape[2], key.shape[2]
    mask = None if key_mask is None else key_mask[:, None, None, :]
    if causal:
        past = torch.arange(keys, device=query.device) <= positions[..., None]
        mask = past if mask is None else mask & past
    picked = query.gather(2, positions[..., None].expand(-1, -1, -1, query.shape[3]))
    attended = attention(picked, key, value, mask=mask, scale=scale)
    if cumulative:
        rest = value.cumsum(dim=2)
    else:
        counts = keys if key_mask is None else key_mask.sum(dim=1).clamp_min(1).view(-1, 1, 1, 1)
        rest = value.sum(dim=2, keepdim=True) / counts
    rest = rest.expand(-1, -1, queries, -1)
    index = positions[..., None].expand(-1, -1, -1, value.shape[3])
    if query_mask is not None:
        # A shorter row has fewer queries that attend; they are sorted, so the last ones are too many.
        rank = torch.arange(positions.shape[-1], device=query.device)
        real = rank < sparse_number(query_mask.sum(dim=1), factor)[:, None]
        attended = torch.where(real[:, None, :, None], attended, rest.gather(2, index))
    return rest.scatter(2, index, attended)


def _choose(query: Tensor, backend: str) -> str:
    if backend == "triton":
        reason = reason_against(query)
        if reason is not None:
            raise UserError(reason)
    if backend != "auto":
        return backend
    exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)()
    if exporting or in_transform():
        # An exported graph holds standard operators alone; torch.func sees through plain functions.
        return "reference"
    return "triton" if query.is_cuda and reason_against(query) is None else "blocked"


def _check(query: Tensor, key: Tensor, value: Tensor, causal: bool, backend: str) -> None:
    if backend not in _BACKENDS:
        raise UserError(f"backend is {backend!r}; use one of {list(_BACKENDS)}")
    if query.ndim != 4 or query.shape[:2] != key.shape[:2] or query.shape[3] != key.shape[3]:
        raise UserError(
            f"query {tuple(query.shape)} and key {tuple(key.shape)} must be (B, H, N, D) and agree"
        )
    if key.shape[:3] != value.shape[:3]:
        raise UserError(
            f"key {tuple(key.shape)} and value {tuple(value.shape)} must agree in (B, H, S)"
        )
    if causal and query.shape[2] != key.shape[2]:
        raise UserError(
            f"causal and cumulative need as many queries as keys, got {query.shape[2]} and {key.shape[2]}"
        )
