"""Linear attention: the scores are products of features, so time and memory grow with N."""

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError

CHUNK = 64


def linear_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    mask: Tensor | None = None,
    causal: bool = False,
    state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Averages the values with weights ``query . key``, without ever forming them.

    A row whose weights are all zero is zero. Sums are kept in float32 (float64 for float64 input).

    Args:
        query: Features of the queries, not negative.
        key: Features of the keys, not negative.
        value: Values.
        mask: True where a key is real; what others hold, even NaN, changes nothing.
        causal: Whether a query sees only its own key and those before.
        state: What earlier keys left behind (a causal continuation); none if None.

    Returns:
        The averages, and the state after the last key: sums of key times value and, in the last
        column, of the keys.

    Shape:
        query, key (B, H, N, D); value (B, H, N, E); mask (B, N); state (B, H, D, E + 1).
        Output: (B, H, N, E) and the state.

    Raises:
        UserError: If a state is given without ``causal``.

    Source:
        Katharopoulos et al. 2020, https://arxiv.org/abs/2006.16236, eqs. 5, 9 and 10; the causal sum by
        chunks as in Hua et al. 2022, https://arxiv.org/abs/2202.10447, section 3.3.
    """
    if state is not None and not causal:
        raise UserError("linear_attention takes a state only with causal=True")
    dtype = torch.promote_types(query.dtype, torch.float32)
    q, k = query.to(dtype), key.to(dtype)
    # The last column of ones sums the weights along with the weighted values.
    v = F.pad(value.to(dtype), (0, 1), value=1.0)
    if mask is not None:
        hidden = ~mask[:, None, :, None]
        k, v = k.masked_fill(hidden, 0.0), v.masked_fill(hidden, 0.0)
    if causal:
        sums, state = _causal(q, k, v, state)
    else:
        state = k.mT @ v
        sums = q @ state
    total = sums[..., -1:]
    out = sums[..., :-1] / torch.where(total > 0, total, 1.0)
    return out.to(value.dtype), state


def _causal(q: Tensor, k: Tensor, v: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """Within a chunk by masked products, between chunks by the running state."""
    tokens = q.shape[2]
    first = state if state is not None else k.new_zeros(*k.shape[:2], k.shape[-1], v.shape[-1])
    if tokens == 1:
        first = first + k.mT @ v
        return q @ first, first
    chunk = min(CHUNK, tokens)
    extra = -tokens % chunk
    q, k, v = (F.pad(x, (0, 0, 0, extra)).unflatten(2, (-1, chunk)) for x in (q, k, v))
    after = (k.mT @ v).cumsum(dim=2) + first[:, :, None]
    before = torch.cat([first[:, :, None], after[:, :, :-1]], dim=2)
    within = (q @ k.mT).tril() @ v
    sums = (within + q @ before).flatten(2, 3)
    return sums[:, :, :tokens], after[:, :, -1]
