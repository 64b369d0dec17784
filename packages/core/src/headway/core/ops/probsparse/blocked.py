"""The measure of the queries by blocks of them: no (T, U) scores of all heads at once."""

import math

import torch
from torch import Tensor

# Queries whose scores are worked on at once.
BLOCK = 2048


def measure(
    query: Tensor, key: Tensor, sample: Tensor, sample_mask: Tensor | None, counts: Tensor
) -> Tensor:
    """How far the scores of each query are from uniform: the largest minus the mean.

    Args:
        query: Queries.
        key: Keys.
        sample: Positions of the sampled keys.
        sample_mask: False where a position of the sample does not count.
        counts: By how much the sum of the scores is divided.

    Shape:
        query (B, H, T, D); key (B, H, S, D); sample (B, U); sample_mask (B, U); counts (B,).
        Output: (B, H, T), float32 at least.
    """
    batch, heads, queries, width = query.shape
    dtype = torch.promote_types(query.dtype, torch.float32)
    index = sample[:, None, :, None].expand(-1, heads, -1, width)
    sampled = key.gather(2, index).to(dtype).mT
    shares = (1 / counts.to(dtype))[:, None, None]
    found = query.new_empty((batch, heads, queries), dtype=dtype)
    for start in range(0, queries, BLOCK):
        here = slice(start, start + BLOCK)
        scores = query[:, :, here].to(dtype) @ sampled
        if sample_mask is None:
            found[:, :, here] = scores.amax(dim=-1) - scores.sum(dim=-1) * shares
            continue
        hidden = ~sample_mask[:, None, None, :]
        total = scores.masked_fill(hidden, 0.0).sum(dim=-1) * shares
        found[:, :, here] = scores.masked_fill(hidden, -math.inf).amax(dim=-1) - total
    return found
