"""Attention as mixers call it: heads, padding, and the op or its weights when somebody listens."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from headway.core.layout import Layout
from headway.core.mixers.base import TokenMixer
from headway.core.ops import attention, decode_attention
from headway.core.ops.decode import seen_keys
from headway.core.taps import tap, wants

CONTIGUOUS = torch.contiguous_format


def attend(
    mixer: TokenMixer,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout: float,
    options: dict[str, Any],
    values: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Runs ``ops.attention`` and reports ``queries``, ``keys``, ``values`` and, if wanted, ``weights``.

    Args:
        mixer: Who reports.
        query: Queries.
        key: Keys.
        value: Values.
        dropout: Probability of dropping a weight; applied in training mode only.
        options: Further arguments of ``ops.attention``.
        values: Adds to the output what it makes of the weights (``Position.values``); these are then
            computed as a tensor.

    Shape:
        query: (B, H, T, D). key, value: (B, Hkv, S, D). Output: (B, H, T, D).
    """
    tap(mixer, "queries", query)
    tap(mixer, "keys", key)
    tap(mixer, "values", value)
    dropout = dropout if mixer.training else 0.0
    if values is None and not wants(mixer, "weights"):
        out = attention(query, key, value, dropout=dropout, **options)
        # Heads in front, in memory, too: a converter (ONNX) puts products in the place of a fused kernel
        # with a mask, and the views of an exported graph must fit what those return.
        return out.clone(memory_format=CONTIGUOUS) if torch.compiler.is_exporting() else out
    # With the identity as values, the output of attention is its weights.
    keys = key.shape[2]
    identity = torch.eye(keys, dtype=value.dtype, device=value.device)
    identity = identity.expand(*value.shape[:2], keys, keys)
    weights = attention(query, key, identity, dropout=dropout, backend="reference", **options)
    tap(mixer, "weights", weights)
    groups = query.shape[1] // value.shape[1]
    valid = value
    if options.get("lengths") is not None:
        real = torch.arange(keys, device=value.device) < options["lengths"][:, None]
        valid = value.masked_fill(~real[:, None, :, None], 0.0)
    out = weights @ (valid.repeat_interleave(groups, dim=1) if groups > 1 else valid)
    return out if values is None else out + values(weights)


def attend_to_cache(
    mixer: TokenMixer,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    first: Tensor,
    window: int | None,
    dropout: float,
    options: dict[str, Any],
    values: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """As ``attend``, of new tokens to what a cache holds.

    Args:
        mixer: Who reports.
        query: New queries.
        key: Keys of the cache, the new ones included.
        value: Values of the cache.
        first: How many keys the first new query of each row sees.
        window: How far back a query sees, in tokens; all if None.
        dropout: Probability of dropping a weight; applied in training mode only.
        options: Further arguments of ``ops.attention``; with none of them a kernel for few queries runs.
        values: As in ``attend``.

    Shape:
        query: (B, H, T, D). key, value: (B, Hkv, S, D). first: (B,). Output: (B, H, T, D).
    """
    dropped = mixer.training and dropout > 0.0
    reads_weights = values is not None or wants(mixer, "weights")
    if dropped or reads_weights or any(x is not None for x in options.values()):
        seen = seen_keys(query.shape[2], key.shape[2], first, window)
        return attend(
            mixer,
            query,
            key,
            value,
            dropout,
            options | {"mask": both(options.get("mask"), seen)},
            values,
        )
    tap(mixer, "queries", query)
    tap(mixer, "keys", key)
    tap(mixer, "values", value)
    return decode_attention(query, key, value, first, window=window)


def split_heads(head_dim: int, *parts: Tensor) -> list[Tensor]:
    """Returns each (B, N, heads * head_dim) as a view (B, heads, N, head_dim)."""
    return [part.unflatten(-1, (-1, head_dim)).transpose(1, 2) for part in parts]


def key_padding(layout: Layout | None, mask: Tensor | None) -> dict[str, Any]:
    """Returns the arguments of ``ops.attention`` that keep padded keys out.

    Args:
        layout: Of the keys.
        mask: What else hides keys, broadcastable to (B, H, T, S).
    """
    if layout is None:
        return {"mask": mask}
    if layout.valid is not None:
        seen = layout.valid[:, None, None, :]
        return {"mask": both(mask, seen)}
    if layout.lengths is not None:
        return {"mask": mask, "lengths": layout.lengths}
    if layout.offsets is not None:
        return {"mask": mask, "offsets": layout.offsets, "max_length": layout.max_length}
    return {"mask": mask}


def both(first: Tensor | None, second: Tensor) -> Tensor:
    """What two masks show, of which the first may be missing."""
    return second if first is None else first & second
