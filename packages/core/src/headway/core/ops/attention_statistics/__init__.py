"""What the weights of attention look like, without the matrix of queries by keys."""

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.ops.attention import triton_backend
from headway.core.ops.attention.dispatch import BackendError
from headway.core.ops.attention.relative import absorb
from headway.core.ops.attention.request import make_request
from headway.core.ops.attention_statistics import blocked
from headway.core.ops.attention_statistics.request import AttentionStatistics, Question

__all__ = ["AttentionStatistics", "attention_statistics"]

_BACKENDS = ("blocked", "triton")
# More slots than this do not fit beside a tile of scores.
_MOST = 32


@torch.no_grad()
def attention_statistics(
    query: Tensor,
    key: Tensor,
    *,
    rows: Tensor | None = None,
    top: int = 0,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    lengths: Tensor | None = None,
    offsets: Tensor | None = None,
    key_offsets: Tensor | None = None,
    causal: bool | str = False,
    window: int | tuple[int | None, int | None] | None = None,
    scale: float | Tensor | None = None,
    alibi_slopes: Tensor | None = None,
    table: Tensor | None = None,
    index: Tensor | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
    relative_query: Tensor | None = None,
    relative_key: Tensor | None = None,
    backend: str = "auto",
) -> AttentionStatistics:
    """Entropy, largest weights, and what keys receive; memory grows with T + S, not with T x S.

    `rows` makes `received` a product of a vector with the matrix of weights from the left: ones give the
    sums of its columns; the relevance of a token, carried from layer to layer, gives attention rollout.
    Nothing here is differentiated.

    Args:
        query: Queries.
        key: Keys; their heads divide those of the queries.
        rows: What the weights of each query count in `received`; without it, that is not computed.
        top: How many of the largest weights of each query are wanted.
        bias: As in `attention`, and so are all that follow.
        mask: Mask.
        lengths: Lengths.
        offsets: Offsets.
        key_offsets: Offsets of the keys.
        causal: Causal corner.
        window: Window.
        scale: Scale.
        alibi_slopes: Slopes.
        table: Table.
        index: Index.
        softcap: Cap.
        sinks: Sinks; what they take is no part of the entropy.
        relative_query: Relative queries.
        relative_key: Relative keys.
        backend: "auto", "triton" or "blocked" (plain PyTorch by blocks of queries).

    Returns:
        The statistics, in float32 (float64 for float64 inputs).

    Shape:
        query (B, H, T, D); key (B, Hkv, S, D); rows broadcasts to (B, H, T).

    Raises:
        UserError: An argument has the wrong shape, dtype, device or value.
        BackendError: The named backend cannot take the call; the message says why.

    Source:
        Entropy: Zhai et al. 2023, https://arxiv.org/abs/2303.06296; rollout: Abnar & Zuidema 2020,
        https://arxiv.org/abs/2005.00928.
    """
    request = make_request(
        query,
        key,
        key,
        bias=bias,
        mask=mask,
        lengths=lengths,
        offsets=offsets,
        key_offsets=key_offsets,
        causal=causal,
        window=window,
        scale=scale,
        alibi_slopes=alibi_slopes,
        table=table,
        index=index,
        softcap=softcap,
        sinks=sinks,
        lse=True,
        relative_query=relative_query,
        relative_key=relative_key,
    )
    if top < 0:
        raise UserError(f"top is {top}; ask for 0 or more of the largest weights")
    if rows is not None:
        try:
            rows = rows.expand(request.shape[:3])
        except RuntimeError:
            raise UserError(
                f"rows has shape {tuple(rows.shape)}; it must broadcast to (batch, heads, queries) = "
                f"{request.shape[:3]}"
            ) from None
    question = Question(attention=absorb(request), rows=rows, top=top)
    if backend not in ("auto", *_BACKENDS):
        raise BackendError(f"backend is {backend!r}; use 'auto' or one of {list(_BACKENDS)}")
    reason = _against_triton(question)
    if backend == "blocked" or (backend == "auto" and (reason is not None or query.is_cpu)):
        return blocked.statistics(question)
    if reason is not None:
        raise BackendError(reason)
    # Imported here, so that headway runs where triton is not installed.
    from headway.core.ops.attention_statistics.triton import launch

    return launch.statistics(question)


def _against_triton(question: Question) -> str | None:
    if question.top > _MOST:
        return f"triton: top {question.top} is more than {_MOST}; use backend='blocked'"
    return triton_backend.reason_against(question.attention)
