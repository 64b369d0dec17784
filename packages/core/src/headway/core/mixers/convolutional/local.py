"""What the local mixers share: tokens as a picture or a sequence, prefix tokens apart."""

import torch
from torch import Tensor

from headway.core.cache import RecurrentCache
from headway.core.errors import UserError
from headway.core.layout import Layout


def to_positions(x: Tensor, layout: Layout) -> tuple[Tensor, tuple[int, ...]]:
    """Returns the tokens behind the prefix as (B, C, *grid) and the grid; (N,) without one."""
    if layout.positions is not None:
        raise UserError(
            "a local mixer needs tokens on their grid; these were merged or dropped before (layout.positions)"
        )
    positions = x[:, layout.prefix :]
    grid = layout.grid if layout.grid is not None else (positions.shape[1],)
    if len(grid) > 2:
        raise UserError(f"local mixers take sequences and pictures, got a grid of {len(grid)} axes")
    return positions.transpose(1, 2).unflatten(2, grid), grid


def real_tokens(x: Tensor, layout: Layout, grid: tuple[int, ...]) -> Tensor | None:
    """Returns 1 where a token behind the prefix is real and 0 where it is padding, (B, 1, *grid)."""
    mask = layout.token_mask(x.shape[1])
    if mask is None:
        return None
    return mask[:, None, layout.prefix :].unflatten(2, grid).to(x.dtype)


def mean_of_positions(positions: Tensor, real: Tensor | None) -> Tensor:
    """Returns the mean over the positions of (B, C, *grid), as one token (B, 1, C)."""
    if real is None:
        return positions.flatten(2).mean(dim=2)[:, None]
    total = (positions * real).flatten(2).sum(dim=2)
    return (total / real.flatten(2).sum(dim=2).clamp_min(1))[:, None]


def to_tokens(positions: Tensor, prefix: Tensor) -> Tensor:
    """Puts the prefix tokens back in front of (B, C, *grid)."""
    tokens = positions.flatten(2).transpose(1, 2)
    return torch.cat([prefix, tokens], dim=1) if prefix.shape[1] else tokens


def join_past(positions: Tensor, layout: Layout, cache: RecurrentCache) -> Tensor:
    """Puts the remembered tokens in front and remembers the last ones of each row.

    Shape:
        positions: (B, C, N). Output: (B, C, M + N), where M tokens are remembered.
    """
    joined = torch.cat([cache.state.to(positions.dtype), positions], dim=2)
    remembered, tokens = cache.state.shape[2], positions.shape[2]
    if layout.lengths is None:
        cache.state = joined[:, :, tokens:]
        cache.lengths = cache.lengths + tokens
        return joined
    # The last tokens of a row end where its real tokens end.
    tail = layout.lengths[:, None] + torch.arange(remembered, device=positions.device)
    cache.state = joined.gather(2, tail[:, None].expand(-1, joined.shape[1], -1))
    cache.lengths = cache.lengths + layout.lengths
    return joined
