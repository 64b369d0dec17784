"""Self-attention whose queries learn how much each of their channels counts."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.mixers import SelfAttention
from headway.core.module import Module


class ChannelScale(Module):
    """Multiplies each channel of a query by ``softplus(scale) / ln 2``: 1 where ``scale`` is 0.

    Args:
        dim: Width of a head.

    Shape:
        x: (..., dim). Output: the same.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Scales."""
        return x * (F.softplus(self.scale) / math.log(2)).to(x.dtype)


class ScaledQueryAttention(SelfAttention):
    """Self-attention with a ``ChannelScale`` of the queries, one for all heads.

    Args:
        dim: Channels of a token.
        heads: Heads.
        head_dim: Width of a head; ``dim / heads`` if None.
        causal: Whether a token sees only itself and what came before.
        dropout: Probability of dropping an attention weight in training.

    Shape:
        x: (B, N, dim). Output: the same.

    Source:
        Das et al. 2023 (TimesFM), https://arxiv.org/abs/2310.10688, and its code.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        head_dim: int | None = None,
        causal: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(dim, heads, head_dim=head_dim, causal=causal, dropout=dropout)
        self.query_norm, self.key_norm = ChannelScale(self.head_dim), nn.Identity()
