"""The convolution module of the Conformer as a token mixer."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.cache import Cache, RecurrentCache
from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers.base import TokenMixer
from headway.core.mixers.convolutional.local import join_past
from headway.core.norms.masked_batch_norm import MaskedBatchNorm
from headway.core.ops.tracing import settled


class GatedConvolutionMixer(TokenMixer):
    """Expand, gate, convolve each channel over the neighbourhood, normalise, activate, project.

    Padding is set to zero before the convolution and left out of the statistics of the norm, so that a
    sequence gives what it would give alone.

    Args:
        dim: Channels of a token.
        heads: Ignored.
        window: Length of the neighbourhood in tokens; odd unless causal.
        causal: Whether a token sees only itself and what came before; it can then run step by step.
        width: Channels of the convolution; ``dim`` if None.
        norm: Builds the norm behind the convolution, ``(width)``; a ``MaskedBatchNorm`` is told which
            tokens are real, other norms must act per token.
        activation: Class of the activation.
        dropout: Probability of dropping an output channel in training.
        bias: Whether the projections and the convolution learn a bias.

    Shape:
        x: (B, N, dim). Output: the same.

    Source:
        Gulati et al. 2020, https://arxiv.org/abs/2005.08100, figure 2.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "valid", "causal", "sizes"})

    def __init__(
        self,
        dim: int,
        heads: int = 1,
        *,
        window: int = 31,
        causal: bool = False,
        width: int | None = None,
        norm: Callable[[int], nn.Module] = MaskedBatchNorm,
        activation: Callable[[], nn.Module] = nn.SiLU,
        dropout: float = 0.0,
        bias: bool = False,
    ) -> None:
        super().__init__()
        if window < 1 or (window % 2 == 0 and not causal):
            raise UserError(
                f"window must be odd and positive, got {window}; use {max(0, window) + 1}, or causal=True"
            )
        self.window, self.causal = window, causal
        width = dim if width is None else width
        self.expand = nn.Linear(dim, 2 * width, bias=bias)
        around = 0 if causal else window // 2
        self.convolution = nn.Conv1d(width, width, window, groups=width, padding=around, bias=bias)
        self.norm = norm(width)
        self.activation = activation()
        self.projection = nn.Linear(width, dim, bias=bias)
        self.dropout = Dropout(dropout)

    def mix(
        self,
        x: Tensor,
        layout: Layout,
        *,
        cache: Cache | None,
    ) -> Tensor:
        """Convolves."""
        # Merged neighbours stay in order; tokens that were moved otherwise have no sizes.
        moved = layout.positions is not None and (
            layout.sizes is None or layout.positions.shape[-1] > 1
        )
        if moved or (layout.grid is not None and len(layout.grid) > 1):
            raise UserError("GatedConvolutionMixer needs the tokens of a sequence, in order")
        real = layout.token_mask(x.shape[1])
        gated = F.glu(self.expand(x), dim=-1)
        if real is not None:
            gated = gated.masked_fill(~real[..., None], 0.0)
        gated = gated.transpose(1, 2)
        if cache is not None:
            if not isinstance(cache, RecurrentCache) or not self.causal:
                raise UserError("step by step needs causal=True and the cache of init_cache()")
            gated = join_past(gated, layout, cache)
        elif self.causal:
            gated = F.pad(gated, (self.window - 1, 0))
        mixed = settled(self.convolution(gated).transpose(1, 2))
        normed = self._normalise(mixed, real)
        return self.dropout(self.projection(self.activation(normed)))

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

    def _normalise(self, x: Tensor, real: Tensor | None) -> Tensor:
        return self.norm(x, real) if isinstance(self.norm, MaskedBatchNorm) else self.norm(x)
