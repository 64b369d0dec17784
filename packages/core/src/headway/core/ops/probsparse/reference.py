"""ProbSparse attention in plain PyTorch."""

import math
from typing import overload

import torch
from torch import Tensor

# The logarithm is at most this for any number of tokens that fits into 64 bits.
_LARGEST_LOG = 44
# The same for the free sizes of an exported graph, up to 8,886,110 tokens.
_LARGEST_FREE_LOG = 16


@overload
def sparse_number(count: int, factor: float) -> int: ...


@overload
def sparse_number(count: Tensor, factor: float) -> Tensor: ...


def sparse_number(count: int | Tensor, factor: float) -> int | Tensor:
    """Returns how many of ``count`` tokens are taken: ``factor * ceil(ln count)``, 1 to ``count``.

    Shape:
        count: an int or (B,). Output: the same, int64.

    Source:
        Zhou et al. 2020, https://arxiv.org/abs/2012.07436, section 3.2.
    """
    if isinstance(count, Tensor):
        wanted = (factor * count.double().clamp_min(1).log().ceil()).long()
        return torch.minimum(wanted.clamp_min(1), count.clamp_min(1))
    # By comparisons: a compiled graph then holds for all counts with the same number.
    log = 0
    while log < _LARGEST_LOG and count > int(math.exp(log)):
        log += 1
    return max(min(int(factor * log), count), 1)


def sample_keys(
    keys: int, factor: float, mask: Tensor | None = None, *, random: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Chooses the keys against which queries are measured: one sample for all heads and queries.

    Args:
        keys: Number of keys.
        factor: See ``sparse_number``.
        mask: True where a key is real; each row then has a sample of its own real keys.
        random: Whether to draw with replacement, as in training; else evenly spaced keys.

    Shape:
        mask: (B, S). Output: positions (U,) or (B, U), and (B, U) bool, False where a row of fewer keys
        has a smaller sample. With a free number of keys (of an exported graph), U is the largest size
        that a sample can have.
    """
    device = mask.device if mask is not None else None
    free = not isinstance(keys, int)
    shared = free and mask is None
    if shared:
        mask = torch.ones(1, keys, dtype=torch.bool)
    number = max(int(factor * _LARGEST_FREE_LOG), 1) if free else sparse_number(keys, factor)
    order = torch.arange(number, device=device)
    if mask is None:
        shares = torch.rand(number, dtype=torch.float64) if random else order.double() / number
        return (shares * keys).long().clamp_max(keys - 1), None
    counts = mask.sum(dim=1)
    numbers = sparse_number(counts, factor)
    shares = order.double() / numbers[:, None]
    if random:
        shares = torch.rand(number, dtype=torch.float64, device=device).expand_as(shares)
    ranks = (shares * counts[:, None]).long().clamp_max(keys - 1)
    # The r-th real key of a row.
    positions = mask.long().sort(dim=1, descending=True, stable=True).indices
    positions, counted = positions.gather(1, ranks), order < numbers[:, None]
    return (positions[0] if shared else positions), counted


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
) -> Tensor:
    """Lets the queries whose scores are the least uniform attend; the others take the mean value.

    A query is measured by the largest minus the mean of its scores against a sample of the keys. With
    ``causal`` the others take the sum of the values so far, as the published code does.

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

    Shape:
        query: (B, H, T, D). key, value: (B, H, S, D). sample: (U,) or (B, U), sample_mask the same.
        query_mask: (B, T). key_mask: (B, S). Output: (B, H, T, D).

    Source:
        Zhou et al. 2020, https://arxiv.org/abs/2012.07436, eq. 3-4 and algorithm 1.
    """
    queries, width = query.shape[2:]
    keys = key.shape[2]
    scale = 1 / math.sqrt(width) if scale is None else scale
    free = not isinstance(queries, int)
    if free and query_mask is None:
        query_mask = torch.ones(1, queries, dtype=torch.bool, device=query.device)
    if key_mask is not None:
        key = key.masked_fill(~key_mask[:, None, :, None], 0.0)
        value = value.masked_fill(~key_mask[:, None, :, None], 0.0)
        counts = key_mask.sum(dim=1).clamp_min(1)[:, None, None, None]
    else:
        counts = torch.tensor(keys, device=query.device)
    with torch.no_grad():
        measure = _measure(query, key, sample, sample_mask, counts)
        if query_mask is not None:
            measure = measure.masked_fill(~query_mask[:, None], -math.inf)
        if free:
            # All of them in order, of which the first ones count: how many is no number yet.
            chosen = measure.argsort(dim=-1, descending=True)
        else:
            chosen = measure.topk(sparse_number(queries, factor), dim=-1).indices
    positions = chosen[..., None].expand(-1, -1, -1, width)
    scores = query.gather(2, positions) @ key.transpose(-2, -1) * scale
    if causal:
        future = torch.arange(keys, device=query.device) > chosen[..., None]
        scores = scores.masked_fill(future, -math.inf)
    if key_mask is not None:
        scores = scores.masked_fill(~key_mask[:, None, None, :], -math.inf)
    # A query with nothing to attend to has only -inf: zero, not NaN.
    nothing = (scores == -math.inf).all(dim=-1, keepdim=True)
    weights = scores.masked_fill(nothing, 0.0).softmax(dim=-1).masked_fill(nothing, 0.0)
    attended = weights @ value
    rest = value.cumsum(dim=2) if causal or cumulative else value.sum(dim=2, keepdim=True) / counts
    rest = rest.expand(-1, -1, queries, -1)
    index = chosen[..., None].expand(-1, -1, -1, value.shape[-1])
    if query_mask is not None:
        # A shorter row has fewer queries that attend; topk sorts them, so the last ones are too many.
        rank = torch.arange(chosen.shape[-1], device=query.device)
        real = rank < sparse_number(query_mask.sum(dim=1), factor).to(query.device)[:, None]
        attended = torch.where(real[:, None, :, None], attended, rest.gather(2, index))
    return rest.scatter(2, index, attended)


def _measure(
    query: Tensor, key: Tensor, sample: Tensor, sample_mask: Tensor | None, counts: Tensor
) -> Tensor:
    """Returns how far the scores of each query are from uniform, (B, H, T)."""
    if sample.ndim == 1:
        sampled = key.index_select(2, sample.to(key.device))
    else:
        index = sample[:, None, :, None].expand(-1, key.shape[1], -1, key.shape[3])
        sampled = key.gather(2, index)
    scores = query @ sampled.transpose(-2, -1)
    if sample_mask is None:
        return scores.amax(dim=-1) - scores.sum(dim=-1) / counts.squeeze(-1)
    seen = sample_mask[:, None, None, :]
    highest = scores.masked_fill(~seen, -math.inf).amax(dim=-1)
    return highest - scores.masked_fill(~seen, 0.0).sum(dim=-1) / counts.squeeze(-1)
