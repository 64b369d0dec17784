"""D-FINE's encoder: the hybrid encoder with lighter blocks between maps."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.blocks.block import FeedForwardFactory, MixerFactories
from headway.core.feedforward import MLP
from headway.core.mixers import PositionedSelfAttention
from headway.core.module import Module
from headway.vision.layers.conv_norm import ActivationFactory, ConvNorm, NormFactory
from headway.vision.layers.hybrid_encoder import HybridEncoder
from headway.vision.layers.rep_block import CSPBlock


class ELANBlock(Module):
    """Half of the channels go through two blocks in a row; all that came before is joined.

    Args:
        channels: Input channels.
        out: Output channels.
        hidden: Channels of the blocks.
        depth: ``RepBlock``s of each.
        norm: Builds the norms, ``(dim)``.
        activation: Builds the activations.

    Shape:
        x: (B, channels, H, W). Output: (B, out, H, W).

    Source:
        Wang et al. 2024 (YOLOv9), https://arxiv.org/abs/2402.13616, as Peng et al. 2024 (D-FINE),
        https://arxiv.org/abs/2410.13842, have it.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        *,
        hidden: int,
        depth: int = 3,
        norm: NormFactory = nn.BatchNorm2d,
        activation: ActivationFactory = nn.SiLU,
    ) -> None:
        super().__init__()
        parts: Any = {"norm": norm, "activation": activation}
        self.first = ConvNorm(channels, 2 * out, **parts)
        self.near = CSPBlock(out, hidden, depth=depth, **parts)
        self.near_conv = ConvNorm(hidden, hidden, kernel=3, **parts)
        self.far = CSPBlock(hidden, hidden, depth=depth, **parts)
        self.far_conv = ConvNorm(hidden, hidden, kernel=3, **parts)
        self.last = ConvNorm(2 * out + 2 * hidden, out, **parts)

    def forward(self, x: Tensor) -> Tensor:
        """Joins what all blocks gave."""
        kept, moved = self.first(x).chunk(2, dim=1)
        near = self.near_conv(self.near(moved))
        far = self.far_conv(self.far(near))
        return self.last(torch.cat([kept, moved, near, far], dim=1))


class ELANEncoder(HybridEncoder):
    """A ``HybridEncoder`` with ``ELANBlock``s, whose maps shrink by a convolution of each channel by itself.

    Args:
        channels: Of the maps, from the largest to the smallest map.
        dim: Channels of all maps then.
        heads: Heads of the mixers.
        depth: Blocks of self-attention over the smallest map.
        mixer: Builds the token mixers, ``(dim, heads)``.
        feedforward: Builds the feed-forwards, ``(dim)``.
        expansion: Channels within the blocks as a share of half of ``dim``.
        blocks: ``RepBlock``s of each part of an ``ELANBlock``.
        norm: Builds the norms of maps, ``(dim)``.
        activation: Builds the activations of maps.

    Shape:
        maps: a list of (B, C, H, W). Output: a list of (B, dim, H, W).

    Source:
        Peng et al. 2024 (D-FINE), https://arxiv.org/abs/2410.13842, and its code.
    """

    def __init__(
        self,
        channels: Sequence[int],
        dim: int = 256,
        *,
        heads: int = 8,
        depth: int = 1,
        mixer: MixerFactories = PositionedSelfAttention,
        feedforward: FeedForwardFactory = partial(MLP, hidden_dim=1024),  # noqa: B008
        expansion: float = 1.0,
        blocks: int = 3,
        norm: NormFactory = nn.BatchNorm2d,
        activation: ActivationFactory = nn.SiLU,
    ) -> None:
        super().__init__(
            channels, dim, heads=heads, depth=depth, mixer=mixer, feedforward=feedforward, norm=norm
        )
        make = partial(
            ELANBlock,
            2 * dim,
            dim,
            hidden=max(1, round(expansion * dim // 2)),
            depth=blocks,
            norm=norm,
            activation=activation,
        )
        steps = range(len(channels) - 1)
        self.lateral = nn.ModuleList([ConvNorm(dim, dim, norm=norm) for _ in steps])
        self.up = nn.ModuleList([make() for _ in steps])
        self.shrink = nn.ModuleList(
            [
                nn.Sequential(
                    ConvNorm(dim, dim, norm=norm),
                    ConvNorm(dim, dim, kernel=3, stride=2, groups=dim, norm=norm),
                )
                for _ in steps
            ]
        )
        self.down = nn.ModuleList([make() for _ in steps])
