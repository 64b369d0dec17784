"""Softmax attention: one function over a reference and faster backends that agree with it."""

from typing import Unpack

import torch
from torch import Tensor

from headway.core.ops.attention import cpu_backend, reference, sdpa, triton_backend
from headway.core.ops.attention.dispatch import BackendError, Dispatch, choose, explain
from headway.core.ops.attention.relative import absorb
from headway.core.ops.attention.request import Options, Request, make_request
from headway.core.ops.attention.sdpa_training import scaled_dot_product
from headway.core.private_torch import in_transform

__all__ = ["BackendError", "Dispatch", "attention", "attention_with_lse", "explain_dispatch"]


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    lengths: Tensor | None = None,
    offsets: Tensor | None = None,
    key_offsets: Tensor | None = None,
    max_length: int | None = None,
    causal: bool | str = False,
    window: int | tuple[int | None, int | None] | None = None,
    scale: float | Tensor | None = None,
    alibi_slopes: Tensor | None = None,
    table: Tensor | None = None,
    index: Tensor | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
    dropout: float = 0.0,
    seed: int | None = None,
    relative_query: Tensor | None = None,
    relative_key: Tensor | None = None,
    distance_key: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Softmax attention.

    A row with nothing to attend to is zero and sends back zero gradients. What keys and values hold
    beyond `lengths` or outside `offsets`, even NaN, changes nothing and receives zero gradients.
    Second derivatives are defined for every backend, save for the CUDA kernels of "sdpa".

    Args:
        query: Queries.
        key: Keys; their heads divide those of the queries (grouped-query attention).
        value: Values.
        bias: Added to the scaled scores; differentiable at any broadcast and stride. Minus infinity
            hides a key.
        mask: True where a query may attend to a key.
        lengths: Number of keys that exist in each item. Out of 0..S is an error on the CPU and is
            clamped elsewhere and while compiling, where reading the values would stop everything.
        offsets: Bounds of packed items, 0 first; the input is then (1, H, total, D), items do not
            see each other, and bias, mask and index address the packed axes.
        key_offsets: Bounds of the items among the keys, if they differ from those of the queries.
        max_length: Static upper bound of the packed lengths, for kernels that need one.
        causal: True or "bottom-right": the last query sees the last key (of T and S, not of
            `lengths`). "top-left": the first query sees only the first key.
        window: Keys further away than this are hidden; one reach, or (left, right), None without
            limit. Aligned as `causal` is.
        scale: Factor of the scores, one number or one per head (then differentiable); 1 / sqrt(D)
            if None.
        alibi_slopes: Per head, the penalty for each step of distance; aligned as `causal` is.
        table: Learned biases by entry and head, read through `index`; differentiable.
        index: For each query and key the number of their entry in `table`.
        softcap: Squeezes the scaled scores into (-softcap, softcap) by tanh, before any bias.
        sinks: One learned score per head that takes its share of the softmax and gives no value.
        dropout: Probability that a weight is dropped; pass 0 outside training.
        seed: Makes dropout a function of seed, item, head, query and key alone, on any device.
        relative_query: Queries of a second product, added to the scores as a bias is, unscaled: what a
            relative position makes of the content of a query (Transformer-XL).
        relative_key: Keys of that product; one batch or head may serve all.
        distance_key: Keys of that product by distance, in place of `relative_key`, where all items have
            the same: row s - t + T - 1 is what query t sees of key s. On a GPU the kernels compute it
            inside; nothing of the size of the scores is made.
        backend: "auto", "sdpa", "native" (C++ on the CPU), "triton" or "reference".

    Returns:
        The weighted values, in the dtype of the queries.

    Shape:
        query (B, H, T, D); key (B, Hkv, S, D); value (B, Hkv, S, Dv); bias and mask broadcast to
        (B, H, T, S); lengths (B,); scale, alibi_slopes, sinks (H,); table (entries, H);
        index (T, S) or (B, T, S); relative_query (B, H, T, R); relative_key (B or 1, Hkv or 1, S, R);
        distance_key (H or 1, T + S - 1, R);
        result (B, H, T, Dv).

    Raises:
        UserError: An argument has the wrong shape, dtype, device or value.
        BackendError: The named backend lacks an option; the message says which one has it.

    Source:
        Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, eq. 1. The semantics of every option
        are those of `headway.core.ops.attention.reference`.
    """
    if (
        backend == "auto"
        and dropout == 0.0
        and causal is False
        and query.is_cpu
        and query.dim() == 4
        and query.shape[:2] == key.shape[:2]
        and key.shape == value.shape
        and query.dtype is key.dtype is value.dtype
        # One comparison of all: they are one and the same None.
        and (bias is mask is lengths is offsets is key_offsets is window is scale is None)
        and (alibi_slopes is table is index is softcap is sinks is None)
        and (relative_query is relative_key is distance_key is None)
        and not torch.is_autocast_enabled("cpu")
        and (
            torch.compiler.is_compiling()
            or (query.numel() * key.shape[2] < 2 * cpu_backend.SMALL and not in_transform())
        )
    ):
        # The most common call, kept within a few microseconds of the bare one where those count.
        return scaled_dot_product(query, key, value)
    options: Options = {
        "bias": bias,
        "mask": mask,
        "lengths": lengths,
        "offsets": offsets,
        "key_offsets": key_offsets,
        "max_length": max_length,
        "causal": causal,
        "window": window,
        "scale": scale,
        "alibi_slopes": alibi_slopes,
        "table": table,
        "index": index,
        "softcap": softcap,
        "sinks": sinks,
        "dropout": dropout,
        "seed": seed,
        "relative_query": relative_query,
        "relative_key": relative_key,
        "distance_key": distance_key,
    }
    return _run(make_request(query, key, value, **options), backend)[0]


def attention_with_lse(
    query: Tensor, key: Tensor, value: Tensor, *, backend: str = "auto", **options: Unpack[Options]
) -> tuple[Tensor, Tensor]:
    """Softmax attention and the log-sum-exp of its scores, both differentiable.

    Two results over disjoint keys can be merged by their log-sum-exps; a row with nothing to attend
    to has -inf. Sinks count in the log-sum-exp, dropout does not change it.

    Args:
        query: Queries.
        key: Keys.
        value: Values.
        backend: "auto", "native", "triton" or "reference".
        options: As in `attention`.

    Returns:
        The weighted values, and the log-sum-exp in float32 (float64 for float64 inputs).

    Shape:
        (B, H, T, Dv) and (B, H, T).

    Raises:
        UserError: An argument has the wrong shape, dtype, device or value.
        BackendError: The named backend lacks an option; the message says which one has it.

    Source:
        Milakov & Gimelshein 2018, https://arxiv.org/abs/1805.02867.
    """
    out, lse = _run(make_request(query, key, value, lse=True, **options), backend)
    assert lse is not None
    return out, lse


def explain_dispatch(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    backend: str = "auto",
    lse: bool = False,
    **options: Unpack[Options],
) -> Dispatch:
    """Says which backend a call would run on, without running it.

    Args:
        query: Queries.
        key: Keys.
        value: Values.
        backend: As in `attention`.
        lse: Whether the call is to `attention_with_lse`.
        options: As in `attention`.

    Returns:
        The backend and the reason for each refusal; its str() is meant to be read.

    Raises:
        UserError: An argument has the wrong shape, dtype, device or value.
        BackendError: The named backend lacks an option; the message says which one has it.

    Source:
        This package.
    """
    request = make_request(query, key, value, lse=lse, **options)
    return explain(absorb(request, backend), backend)


def _run(request: Request, backend: str) -> tuple[Tensor, Tensor | None]:
    width = request.value.shape[3]
    request = absorb(request, backend)
    chosen = choose(request, backend)
    lse = None
    if chosen == "sdpa":
        out = sdpa.attention(request)
    elif chosen == "triton":
        out, lse = triton_backend.attention(request)
    elif chosen == "native":
        out, lse = cpu_backend.attention(request)
    else:
        out, lse = reference.attention(request)
    return out if request.value.shape[3] == width else out[..., :width], lse
