"""Blocks of the ACEFormer."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.blocks.block import FeedForwardFactory, MixerFactory
from headway.core.errors import UserError
from headway.core.module import Module
from headway.core.norms import LayerNorm


class AttentionFedBlock(Module):
    """A post-norm block whose feed-forward reads what the mixer said, not the sum.

    Args:
        dim: Channels of a token.
        heads: Heads of the mixer.
        mixer: Builds the mixer, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.

    Shape:
        x, context: (B, N, dim). Output: the same.

    Source:
        The code of Li et al. 2023, https://github.com/DurandalLee/ACEFormer.
    """

    def __init__(
        self, dim: int, heads: int, *, mixer: MixerFactory, feedforward: FeedForwardFactory
    ) -> None:
        super().__init__()
        self.mixer = mixer(dim, heads)
        self.feedforward = feedforward(dim)
        self.mixer_norm, self.norm = LayerNorm(dim, eps=1e-5), LayerNorm(dim, eps=1e-5)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Mixes, and transforms what was mixed."""
        reads = "context" in self.mixer.supports
        mixed = self.mixer(x, context=context if reads else None)
        return self.norm(self.mixer_norm(x + mixed) + self.feedforward(mixed))


class ChannelDistilling(Module):
    """Half the channels of all tokens, the strongest of each neighbourhood, and a learned position each.

    Args:
        tokens: Tokens.
        dim: Channels that it reads, even.

    Shape:
        x: (B, tokens, dim). Output: (B, tokens, dim / 2).

    Raises:
        UserError: If ``dim`` is odd.

    Source:
        Li et al. 2023, https://arxiv.org/abs/2404.07969, section 3.3 (time-aware mechanism).
    """

    def __init__(self, tokens: int, dim: int) -> None:
        super().__init__()
        if dim % 2:
            raise UserError(f"dim {dim} cannot be halved; use an even number")
        self.convolution = nn.Conv1d(dim, dim, 3)
        self.norm = nn.BatchNorm1d(dim)
        self.position = nn.Parameter(torch.rand(tokens, dim // 2))

    def forward(self, x: Tensor) -> Tensor:
        """Halves the channels."""
        wrapped = F.pad(x.transpose(1, 2), (1, 1), mode="circular")
        hidden = F.elu(self.norm(self.convolution(wrapped))).transpose(1, 2)
        return F.max_pool1d(hidden, 3, stride=2, padding=1) + self.position
