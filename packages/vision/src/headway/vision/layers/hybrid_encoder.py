"""RT-DETR's encoder: attention within the smallest map, convolutions between all."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.blocks import PostNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.mixers import PositionedSelfAttention
from headway.core.module import Module
from headway.core.norms import LayerNorm
from headway.core.positions import SinusoidalPosition
from headway.core.stacks import Encoder
from headway.vision.layers.conv_norm import ActivationFactory, ConvNorm, NormFactory
from headway.vision.layers.rep_block import CSPBlock


class HybridEncoder(Module):
    """Maps of several scales, each told of the others: from the smallest up, and from the largest down.

    Self-attention runs over the tokens of the smallest map alone, where they mean most and are fewest. The
    maps need not be twice as large as the next: the smaller one is repeated to the size of the larger.

    Args:
        channels: Of the maps, from the largest to the smallest map.
        dim: Channels of all maps then.
        heads: Heads of the mixers.
        depth: Blocks of self-attention over the smallest map.
        mixer: Builds the token mixers, ``(dim, heads)``.
        feedforward: Builds the feed-forwards, ``(dim)``.
        block: Builds a block, ``(dim, heads, ...)``.
        expansion: Of the ``CSPBlock``s.
        norm: Builds the norms of maps, ``(dim)``.
        activation: Builds the activations of maps.

    Shape:
        maps: a list of (B, C, H, W). Output: a list of (B, dim, H, W).

    Source:
        Zhao et al. 2023 (RT-DETR), https://arxiv.org/abs/2304.08069, section 4.2.
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
        block: BlockFactory = PostNormBlock,
        expansion: float = 1.0,
        norm: NormFactory = nn.BatchNorm2d,
        activation: ActivationFactory = nn.SiLU,
    ) -> None:
        super().__init__()
        if len(channels) < 2:
            raise UserError(f"a hybrid encoder joins two maps or more, got channels {channels}")
        parts: dict[str, Any] = {"norm": norm, "activation": activation}
        self.inputs = nn.ModuleList([ConvNorm(one, dim, norm=norm) for one in channels])
        self.position = SinusoidalPosition(dim, (1, 1), interleaved=False)
        self.encoder = Encoder(
            dim,
            depth,
            heads,
            mixer=mixer,
            feedforward=feedforward,
            norm=partial(LayerNorm, eps=1e-5),
            block=block,
            final_norm=False,
        )
        steps = range(len(channels) - 1)
        self.lateral = nn.ModuleList([ConvNorm(dim, dim, **parts) for _ in steps])
        self.up = nn.ModuleList(
            [CSPBlock(2 * dim, dim, expansion=expansion, **parts) for _ in steps]
        )
        self.shrink = nn.ModuleList(
            [ConvNorm(dim, dim, kernel=3, stride=2, **parts) for _ in steps]
        )
        self.down = nn.ModuleList(
            [CSPBlock(2 * dim, dim, expansion=expansion, **parts) for _ in steps]
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Encodes the maps."""
        found = [part(one) for part, one in zip(self.inputs, maps, strict=True)]
        found[-1] = self._attended(found[-1])
        # From the smallest to the largest.
        for step, (lateral, block) in enumerate(zip(self.lateral, self.up, strict=True)):
            place = len(found) - 1 - step
            found[place] = lateral(found[place])
            larger = found[place - 1]
            repeated = F.interpolate(found[place], size=larger.shape[2:], mode="nearest")
            found[place - 1] = block(torch.cat([repeated, larger], dim=1))
        # And back.
        for place, (shrink, block) in enumerate(zip(self.shrink, self.down, strict=True)):
            joined = torch.cat([shrink(found[place]), found[place + 1]], dim=1)
            found[place + 1] = block(joined)
        return found

    def _attended(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[2:]
        tokens = x.flatten(2).transpose(1, 2)
        layout = Layout(grid=(rows, columns))
        embedding = self.position(layout, tokens.shape[1]).to(tokens)
        tokens, _ = self.encoder(tokens, layout.replace(embedding=embedding))
        return tokens.transpose(1, 2).unflatten(2, (rows, columns))
