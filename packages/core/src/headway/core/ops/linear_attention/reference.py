"""Linear attention in plain PyTorch: by chunks, differentiable any number of times."""

import torch
from torch import Tensor
from torch.nn import functional as F

# Tokens per chunk. A decay per channel needs the products of a chunk channel by channel.
CHUNK = 64
CHUNK_OF_CHANNELS = 16


def weighted_sums(
    query: Tensor, key: Tensor, value: Tensor, log_decay: Tensor | None, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Causal sums of values with weights ``query . key``, and the state after the last key.

    Args:
        query: Features of the queries.
        key: Features of the keys.
        value: Values.
        log_decay: Logarithm of what is left of the state at each token; nothing is lost if None.
        state: What earlier keys left behind.

    Shape:
        query, key (B, H, N, D); value (B, H, N, E); log_decay (B, H, N, 1 or D); state (B, H, D, E).
        Output: (B, H, N, E) and (B, H, D, E).
    """
    tokens = query.shape[2]
    if tokens == 1:
        if log_decay is not None:
            state = log_decay.mT.exp() * state
        state = state + key.mT @ value
        return query @ state, state
    channels = log_decay is not None and log_decay.shape[3] > 1
    chunk = CHUNK_OF_CHANNELS if channels else CHUNK
    query, key, value = (chunks(x, chunk) for x in (query, key, value))
    if log_decay is None:
        after = (key.mT @ value).cumsum(dim=2) + state[:, :, None]
        scores = (query @ key.mT).tril()
    else:
        decay = chunks(log_decay, chunk).cumsum(dim=3)
        whole = decay[:, :, :, -1:]
        after = _states((key * (whole - decay).exp()).mT @ value, whole.squeeze(3), state)
        scores = decayed_scores(query, key, decay)
        query = query * decay.exp()
    before = torch.cat([state[:, :, None], after[:, :, :-1]], dim=2)
    sums = (scores @ value + query @ before).flatten(2, 3)
    return sums[:, :, :tokens], after[:, :, -1]


def average(sums: Tensor) -> Tensor:
    """Weighted sums, whose last column sums the weights, as averages; without weights, zero."""
    total = sums[..., -1:]
    return sums[..., :-1] / torch.where(total > 0, total, 1.0)


def with_ones(value: Tensor) -> Tensor:
    """The values with a column of ones, which sums the weights along with the weighted values."""
    return F.pad(value, (0, 1), value=1.0)


def causal_gaps(decay: Tensor) -> Tensor:
    """Differences of summed logarithms from key to query; minus infinity for keys to come.

    Shape:
        decay: (..., N, D). Output: (..., N, N, D).
    """
    tokens = decay.shape[-2]
    future = torch.ones(tokens, tokens, dtype=torch.bool, device=decay.device).triu(1)
    gaps = decay[..., :, None, :] - decay[..., None, :, :]
    return gaps.masked_fill(future[..., None], -torch.inf)


def chunks(x: Tensor, chunk: int) -> Tensor:
    """(B, H, N, D) as (B, H, chunks, chunk, D), zeros behind the end."""
    return F.pad(x, (0, 0, 0, -x.shape[2] % chunk)).unflatten(2, (-1, chunk))


def _states(added: Tensor, decay: Tensor, first: Tensor) -> Tensor:
    """The state after each chunk.

    Args:
        added: What each chunk adds, (B, H, C, D, E).
        decay: Logarithm of what each leaves of what was before, (B, H, C, 1 or D).
        first: The state before, (B, H, D, E).
    """
    total = decay.cumsum(dim=2)
    left = causal_gaps(total).exp()  # (B, H, C, C, 1 or D)
    if decay.shape[3] == 1:
        mixed = (left.squeeze(-1) @ added.flatten(3)).unflatten(3, added.shape[3:])
    else:
        mixed = torch.einsum("bhcjd,bhjde->bhcde", left, added)
    return mixed + total.exp()[..., None] * first[:, :, None]


def decayed_scores(query: Tensor, key: Tensor, decay: Tensor) -> Tensor:
    """Causal scores within chunks.

    Args:
        query: Queries.
        key: Keys.
        decay: Logarithms of decay, summed from the start of the chunk.
    """
    left = causal_gaps(decay).exp()
    if decay.shape[-1] == 1:
        return (query @ key.mT) * left.squeeze(-1)
    return (query[..., :, None, :] * key[..., None, :, :] * left).sum(dim=-1)
