"""Attention of a few new queries to a cache of keys and values, each row at its own length."""

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.ops.attention import attention
from headway.core.ops.decode import native, operator, reference
from headway.core.ops.decode.reference import seen_keys
from headway.core.ops.kernels.machine import reason_against as reason_against_device
from headway.core.ops.kernels.operators import autocast, without_autocast
from headway.core.private_torch import in_transform

__all__ = ["decode_attention", "reason_against", "seen_keys"]
_BACKENDS = ("auto", "reference", "attention", "native", "triton")
_WIDEST = 256
# Queries that share a head of keys. With more, reading the keys is no longer what takes the time.
_ROWS = 64


def decode_attention(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    lengths: Tensor,
    *,
    window: int | None = None,
    scale: float | None = None,
    backend: str = "auto",
) -> Tensor:
    """Softmax attention in which query t of a row sees the row's first ``lengths + t`` keys.

    The keys are split, each part gives a softmax of its own with the logarithm of its sum, and the parts
    are merged in a fixed order. Heads that share keys read them once; a row reads its own keys alone, so
    what lies behind them may be anything (with backend "attention": anything finite).

    Args:
        query: The newest queries of each row.
        keys: Buffer of keys, those of the new queries included.
        values: Buffer of values.
        lengths: How many keys the first query of each row sees, its own included.
        window: How far back a query sees, in keys; all if None.
        scale: Of the scores; ``1 / sqrt(D)`` if None.
        backend: "auto", "reference" (plain PyTorch), "attention" (`attention` with a mask), "native" (C++)
            or "triton".

    Shape:
        query (B, H, T, D); keys (B, Hkv, S, D); values (B, Hkv, S, E), Hkv divides H; lengths (B,).
        Output: (B, H, T, E).

    Raises:
        UserError: If sizes do not fit, or if the backend cannot do what is asked for.

    Source:
        Dao et al. 2023, "Flash-Decoding for long-context inference",
        https://pytorch.org/blog/flash-decoding/; Shazeer 2019, https://arxiv.org/abs/1911.02150.
    """
    _check(query, keys, values, lengths, window, backend)
    factor = query.shape[3] ** -0.5 if scale is None else scale
    query, keys, values = autocast(query, keys, values)
    chosen = _choose(query, keys, values, backend)
    with without_autocast(query):
        if chosen == "reference":
            return reference.decode_attention(query, keys, values, lengths, window, factor)
        if chosen == "attention":
            seen = reference.seen_keys(query.shape[2], keys.shape[2], lengths, window)
            return attention(query, keys, values, mask=seen, scale=factor)
        return operator.decode_attention(query, keys, values, lengths, window, factor, chosen)


def reason_against(query: Tensor, keys: Tensor, values: Tensor, backend: str) -> str | None:
    """Why "native" or "triton" cannot run, with the remedy, or None if it can."""
    rows = query.shape[1] // keys.shape[1] * query.shape[2]
    if rows > _ROWS:
        return f"{backend}: {rows} queries share a head of keys, above {_ROWS}; use 'attention'"
    if backend == "native":
        return native.reason_against(query, keys, values)
    if query.dtype == torch.float64:
        return "triton: float64 has no kernel; use backend='attention'"
    widest = max(query.shape[3], values.shape[3])
    if widest > _WIDEST:
        return f"triton: heads of {widest} channels are above {_WIDEST}; use backend='attention'"
    return reason_against_device(query.device)


def _choose(query: Tensor, keys: Tensor, values: Tensor, backend: str) -> str:
    if backend == "auto":
        exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)()
        if exporting:
            return "attention"
        if in_transform():
            return "reference"
        best = "native" if query.is_cpu else "triton"
        return best if reason_against(query, keys, values, best) is None else "attention"
    if backend in ("native", "triton"):
        reason = reason_against(query, keys, values, backend)
        if reason is not None:
            raise UserError(reason)
    return backend


def _check(
    query: Tensor, keys: Tensor, values: Tensor, lengths: Tensor, window: int | None, backend: str
) -> None:
    if backend not in _BACKENDS:
        raise UserError(f"backend is {backend!r}; use one of {list(_BACKENDS)}")
    if query.ndim != 4 or keys.ndim != 4 or query.shape[3] != keys.shape[3]:
        raise UserError(
            f"query {tuple(query.shape)} must be (B, H, T, D) and keys {tuple(keys.shape)} "
            "(B, Hkv, S, D)"
        )
    if query.shape[1] % keys.shape[1]:
        raise UserError(f"{keys.shape[1]} heads of keys must divide {query.shape[1]} of queries")
    if keys.shape[:3] != values.shape[:3] or query.shape[0] != keys.shape[0]:
        raise UserError(
            f"keys {tuple(keys.shape)} and values {tuple(values.shape)} must agree in (B, Hkv, S), "
            f"and have {query.shape[0]} rows"
        )
    if lengths.shape != query.shape[:1]:
        raise UserError(f"lengths {tuple(lengths.shape)} must be one number for each row")
    if window is not None and window < 0:
        raise UserError(f"window is {window}; a reach is 0 or more keys, or None for no limit")
