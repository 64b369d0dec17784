"""Attention of a few new queries to a cache of keys, in plain PyTorch."""

import torch
from torch import Tensor


def decode_attention(
    query: Tensor, keys: Tensor, values: Tensor, lengths: Tensor, window: int | None, scale: float
) -> Tensor:
    """Softmax attention in which query t of a row sees the row's first ``lengths + t`` keys.

    Shape:
        query (B, H, T, D); keys (B, Hkv, S, D); values (B, Hkv, S, E); lengths (B,).
        Output: (B, H, T, E).
    """
    weights = attention_weights(query, keys, lengths, window, scale)
    seen = seen_keys(query.shape[2], keys.shape[2], lengths, window)
    # What no query of a row sees may be anything: memory that was never filled.
    used = seen.any(dim=2)[:, :, :, None]
    out = weights @ values.to(weights.dtype).masked_fill(~used, 0.0)
    return ungrouped(out, query.shape[2]).to(query.dtype)


def attention_weights(
    query: Tensor, keys: Tensor, lengths: Tensor, window: int | None, scale: float
) -> Tensor:
    """The weights of the queries that share a head of keys, (B, Hkv, H / Hkv * T, S)."""
    dtype = torch.promote_types(query.dtype, torch.float32)
    groups, tokens = query.shape[1] // keys.shape[1], query.shape[2]
    seen = seen_keys(tokens, keys.shape[2], lengths, window)
    used = seen.any(dim=2)[:, :, :, None]
    wide_keys = keys.to(dtype).masked_fill(~used, 0.0)
    scores = grouped(query.to(dtype), keys.shape[1]) @ wide_keys.mT * scale
    seen = seen.repeat(1, 1, groups, 1)
    nothing = ~seen.any(dim=-1, keepdim=True)
    scores = scores.masked_fill(~seen & ~nothing, -torch.inf)
    return scores.softmax(dim=-1).masked_fill(nothing, 0.0)


def seen_keys(tokens: int, keys: int, lengths: Tensor, window: int | None) -> Tensor:
    """True where a query of a row sees a key, (B, 1, T, S)."""
    last = lengths[:, None] + torch.arange(tokens, device=lengths.device) - 1
    position = torch.arange(keys, device=lengths.device)
    seen = position <= last[:, :, None]
    if window is not None:
        seen = seen & (position >= last[:, :, None] - window)
    return seen[:, None]


def grouped(query: Tensor, kv_heads: int) -> Tensor:
    """(B, H, T, D) as (B, Hkv, H / Hkv * T, D)."""
    return query.unflatten(1, (kv_heads, -1)).flatten(2, 3)


def ungrouped(out: Tensor, tokens: int) -> Tensor:
    """(B, Hkv, H / Hkv * T, E) as (B, H, T, E)."""
    return out.unflatten(2, (-1, tokens)).flatten(1, 2)
