"""Linear attention: the scores are products of features, so time and memory grow with N."""

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.ops.kernels.machine import reason_against as reason_against_device
from headway.core.ops.kernels.operators import autocast, without_autocast
from headway.core.ops.linear_attention import reference
from headway.core.ops.linear_attention.operator import composite, linear_attention_forward
from headway.core.private_torch import in_transform

__all__ = ["linear_attention", "reason_against"]
_BACKENDS = ("auto", "reference", "chunked", "triton")
_WIDEST = 128


def linear_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    mask: Tensor | None = None,
    causal: bool = False,
    log_decay: Tensor | None = None,
    normalize: bool = True,
    state: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Averages the values with weights ``query . key``, without ever forming them.

    A row whose weights are all zero is zero. Sums are kept in float32 (float64 for float64 input). The
    backward pass keeps no state of any token.

    Args:
        query: Features of the queries, not negative if `normalize`.
        key: Features of the keys, not negative if `normalize`.
        value: Values.
        mask: True where a key is real; what others hold, even NaN, changes nothing.
        causal: Whether a query sees only its own key and those before.
        log_decay: Logarithm, not positive, of what is left at each token of what was before it: one
            number per head (retention), or one per channel (gated linear attention). Causal only.
        normalize: Whether to divide by the sum of the weights; else their sums are returned.
        state: What earlier keys left behind (a causal continuation); none if None.
        backend: "auto", "reference" (plain PyTorch), "chunked" (no intermediate grows with N) or
            "triton".

    Returns:
        The averages, and the state after the last key: sums of key times value and, if `normalize`, in
        a last column, of the keys.

    Shape:
        query, key (B, H, N, D); value (B, H, N, E); mask (B, N); log_decay broadcastable to (B, H, N, 1)
        or (B, H, N, D); state (B, H, D, E + 1), or (B, H, D, E) without `normalize`.
        Output: (B, H, N, E) and the state.

    Raises:
        UserError: If sizes do not fit, if a state or a decay is given without ``causal``, or if the
            backend cannot do what is asked for.

    Source:
        Katharopoulos et al. 2020, https://arxiv.org/abs/2006.16236, eqs. 5, 9 and 10; the causal sum by
        chunks as in Hua et al. 2022, https://arxiv.org/abs/2202.10447, section 3.3; decay: Sun et al.
        2023, https://arxiv.org/abs/2307.08621, and Yang et al. 2023, https://arxiv.org/abs/2312.06635.
    """
    _check(query, key, value, mask, causal, log_decay, state, backend)
    kept = value.dtype
    query, key, value = autocast(query, key, value)
    with without_autocast(query):
        out, state = _attend(query, key, value, mask, causal, log_decay, normalize, state, backend)
    return out.to(kept), state


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    causal: bool,
    log_decay: Tensor | None,
    normalize: bool,
    state: Tensor | None,
    backend: str,
) -> tuple[Tensor, Tensor]:
    hidden = None if mask is None else ~mask[:, None, :, None]
    if hidden is not None:
        key, value = key.masked_fill(hidden, 0.0), value.masked_fill(hidden, 0.0)
    dtype = torch.promote_types(query.dtype, torch.float32)
    if not causal:
        value = value.to(dtype)
        found = key.to(dtype).mT @ (reference.with_ones(value) if normalize else value)
        sums = query.to(dtype) @ found
        return reference.average(sums) if normalize else sums, found
    batch, heads, tokens, width = query.shape
    if log_decay is not None:
        log_decay = log_decay.to(dtype)
        log_decay = log_decay.expand(batch, heads, tokens, log_decay.shape[-1])
        if hidden is not None:
            # A token that is not there takes nothing away either.
            log_decay = log_decay.masked_fill(hidden, 0.0)
    if state is None:
        state = query.new_zeros((batch, heads, width, value.shape[3] + normalize), dtype=dtype)
    chosen = _choose(query, value, log_decay, state, backend)
    arguments = (query, key, value, log_decay, state.to(dtype), normalize)
    if chosen == "reference":
        return composite(*arguments)
    out, _, last = linear_attention_forward(*arguments, chosen)
    return out, last


def reason_against(query: Tensor, value: Tensor, log_decay: Tensor | None) -> str | None:
    """Why the Triton kernels cannot run, with the remedy, or None if they can."""
    if query.dtype == torch.float64:
        return "triton: float64 has no kernel; use backend='chunked'"
    if log_decay is not None and log_decay.shape[-1] > 1:
        return "triton: a decay per channel is not built; use backend='chunked', or one per head"
    widest = max(query.shape[3], value.shape[3])
    if widest > _WIDEST:
        return f"triton: {widest} features are more than {_WIDEST}; use backend='chunked'"
    return reason_against_device(query.device)


def _choose(
    query: Tensor, value: Tensor, log_decay: Tensor | None, state: Tensor, backend: str
) -> str:
    reason = reason_against(query, value, log_decay)
    if backend == "auto":
        if in_transform():
            # torch.func differentiates the plain function by itself.
            return "reference"
        if query.shape[2] == 1 or (
            torch.compiler.is_exporting() and isinstance(query.shape[2], int)
        ):
            # A step is two small products. An exported graph of a known number of tokens holds standard
            # operators alone; chunks of an unknown number need the operator.
            return "reference"
        return "triton" if query.is_cuda and reason is None else "chunked"
    if backend == "triton" and reason is not None:
        raise UserError(reason)
    return backend


def _check(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    causal: bool,
    log_decay: Tensor | None,
    state: Tensor | None,
    backend: str,
) -> None:
    if backend not in _BACKENDS:
        raise UserError(f"backend is {backend!r}; use one of {list(_BACKENDS)}")
    for name, given in (("state", state), ("log_decay", log_decay)):
        if given is not None and not causal:
            raise UserError(f"linear_attention takes a {name} only with causal=True")
    if query.ndim != 4 or query.shape[:2] != key.shape[:2] or query.shape[3] != key.shape[3]:
        raise UserError(
            f"query {tuple(query.shape)} and key {tuple(key.shape)} must be (B, H, N, D) and agree"
        )
    if key.shape[:3] != value.shape[:3]:
        raise UserError(
            f"key {tuple(key.shape)} and value {tuple(value.shape)} must agree in (B, H, N)"
        )
    if causal and query.shape[2] != key.shape[2]:
        raise UserError(
            f"causal needs as many queries as keys, got {query.shape[2]} and {key.shape[2]}"
        )
    if log_decay is not None and log_decay.shape[-1] not in (1, query.shape[3]):
        raise UserError(
            f"log_decay has {log_decay.shape[-1]} channels; use 1 per head or {query.shape[3]}"
        )
