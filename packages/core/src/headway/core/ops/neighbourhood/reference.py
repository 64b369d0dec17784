"""Neighbourhood attention in plain PyTorch: any dtype, any order of derivative; the oracle."""

import torch
from torch import Tensor

from headway.core.ops.neighbourhood.geometry import Pair, flat, neighbours


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    table: Tensor | None,
    lengths: Tensor | None,
    window: Pair,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Copies the neighbours of every query, and computes in float32 (float64 for float64 inputs).

    Shape:
        query, key, value: (B, H, Y, X, D). table: ((2 Wy - 1) (2 Wx - 1), H). lengths: (B,).
        Output: (B, H, Y, X, D), and the log-sum-exp (B, H, Y, X).

    Source:
        Hassani et al. 2022, https://arxiv.org/abs/2204.07143, eq. 2 to 4.
    """
    dtype = torch.float64 if query.dtype == torch.float64 else torch.float32
    grid = (query.shape[2], query.shape[3])
    positions, entries, real = neighbours(grid, window, lengths, query.device)
    wide = [flat(x.to(dtype)) for x in (query, key, value)]
    near_keys, near_values = (_gathered(x, positions) for x in wide[1:])
    hidden = None if real is None else ~real[:, None]
    if hidden is not None:
        # A weight of zero times a NaN is a NaN, so what does not exist must hold numbers.
        near_keys, near_values = (
            x.masked_fill(hidden[..., None], 0.0) for x in (near_keys, near_values)
        )
        wide[0] = wide[0].masked_fill(hidden.all(dim=-1, keepdim=True), 0.0)
    scores_bhnk = torch.einsum("bhnd,bhnkd->bhnk", wide[0] * scale, near_keys)
    if table is not None:
        scores_bhnk = scores_bhnk + table.to(dtype)[entries].movedim(-1, 1)
    if hidden is not None:
        scores_bhnk = scores_bhnk.masked_fill(hidden, -torch.inf)
    lse = torch.logsumexp(scores_bhnk, dim=-1)
    # A query without neighbours has only -inf: zero, not NaN.
    nothing = (lse == -torch.inf)[..., None]
    weights = torch.exp(scores_bhnk - lse[..., None].masked_fill(nothing, 0.0))
    out = torch.einsum("bhnk,bhnkd->bhnd", weights, near_values)
    return out.to(query.dtype).unflatten(2, grid), lse.unflatten(2, grid)


def _gathered(tokens: Tensor, positions: Tensor) -> Tensor:
    """Returns (B, H, N, K, D) of (B, H, N, D)."""
    batch, heads, _, width = tokens.shape
    index = positions.flatten(1)[:, None, :, None].expand(batch, heads, -1, width)
    return tokens.gather(2, index).unflatten(2, positions.shape[1:])
