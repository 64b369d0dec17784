"""Depth-wise convolution as a token mixer."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.cache import Cache, RecurrentCache
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers.base import TokenMixer
from headway.core.mixers.convolutional.local import (
    join_past,
    mean_of_positions,
    real_tokens,
    to_positions,
    to_tokens,
)


class ConvolutionMixer(TokenMixer):
    """A separable convolution: expand, activate, convolve each channel over the neighbourhood, project.

    Works on sequences and pictures; on sequences it can be causal and run step by step. Prefix tokens
    have no neighbourhood: they take the average of the convolved tokens.

    Args:
        dim: Channels of a token.
        heads: Ignored.
        window: Side of the neighbourhood in tokens; odd unless causal.
        axes: 1 for sequences, 2 for pictures.
        expansion: Inner width as a multiple of ``dim``.
        causal: Whether a token sees only itself and what came before (sequences).
        activation: Class of the activation after the expansion.
        bias: Whether the projections and the convolution learn a bias.

    Shape:
        x: (B, N, dim). Output: the same.

    Source:
        Yu et al. 2022 (MetaFormer baselines), https://arxiv.org/abs/2210.13452, section 3.3.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "valid", "prefix", "causal"})

    def __init__(
        self,
        dim: int,
        heads: int = 1,
        *,
        window: int = 7,
        axes: int = 2,
        expansion: float = 2.0,
        causal: bool = False,
        activation: Callable[[], nn.Module] = nn.GELU,
        bias: bool = False,
    ) -> None:
        super().__init__()
        if axes not in (1, 2):
            raise UserError(f"axes is 1 (sequences) or 2 (pictures), got {axes}")
        if causal and axes != 1:
            raise UserError("a causal convolution needs axes=1: a picture has no order of time")
        if window < 1 or (window % 2 == 0 and not causal):
            raise UserError(f"window must be odd and positive unless causal, got {window}")
        self.window, self.axes, self.causal = window, axes, causal
        inner = int(dim * expansion)
        convolution = nn.Conv1d if axes == 1 else nn.Conv2d
        self.expand = nn.Linear(dim, inner, bias=bias)
        self.activation = activation()
        self.convolution = convolution(inner, inner, window, groups=inner, bias=bias)
        self.projection = nn.Linear(inner, dim, bias=bias)

    def mix(
        self,
        x: Tensor,
        layout: Layout,
        *,
        cache: Cache | None,
    ) -> Tensor:
        """Convolves."""
        positions, grid = to_positions(self.activation(self.expand(x)), layout)
        if len(grid) != self.axes:
            raise UserError(
                f"ConvolutionMixer(axes={self.axes}) got tokens on a grid of {len(grid)} axes; "
                f"build it with axes={len(grid)}"
            )
        real = real_tokens(x, layout, grid)
        if real is not None:
            positions = positions.masked_fill(real == 0, 0.0)
        if cache is not None:
            if not isinstance(cache, RecurrentCache) or not self.causal:
                raise UserError("step by step needs causal=True and the cache of init_cache()")
            positions = join_past(positions, layout, cache)
        elif self.causal:
            positions = F.pad(positions, (self.window - 1, 0))
        else:
            positions = F.pad(positions, [self.window // 2] * (2 * self.axes))
        mixed = self.convolution(positions)
        prefix = x[:, :0]
        if layout.prefix:
            prefix = mean_of_positions(mixed, real).expand(-1, layout.prefix, -1)
        return self.projection(to_tokens(mixed, prefix))

    def init_cache(
        self,
        batch: int,
        max_length: int,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> RecurrentCache:
        """Returns a cache that remembers the last tokens of the window."""
        weight = self.convolution.weight
        shape = (batch, weight.shape[0], self.window - 1)
        return RecurrentCache(
            torch.zeros(shape, dtype=dtype or weight.dtype, device=device or weight.device)
        )
