"""A stage of a hierarchical model."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactory
from headway.core.blocks.residual import NormFactory
from headway.core.cache import Cache
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.norms import LayerNorm
from headway.core.stacks.stack import Stack
from headway.core.sublayer import Sublayer


class Stage(Stack):
    """Blocks at one resolution, behind what leads to it.

    Args:
        dim: Channels of a token.
        heads: Heads of the mixers.
        mixers: Builds the token mixer of each block, ``(dim, heads)``; one for every block.
        drop_path: Rate of stochastic depth of each block.
        in_dim: Channels of the stage before.
        resampler: Builds what leads here from the stage before, ``(in_dim, dim)``; None for the first.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block, ``(dim, heads, ...)``.
        layer_scale: Where a learned scale of each branch starts; none if None.

    Shape:
        x: (B, N, in_dim). Output: (B, N', dim) and its layout.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        mixers: Sequence[MixerFactory],
        drop_path: Sequence[float],
        in_dim: int | None = None,
        resampler: Callable[[int, int], Sublayer] | None = None,
        feedforward: FeedForwardFactory = MLP,
        norm: NormFactory = LayerNorm,
        block: BlockFactory = PreNormBlock,
        layer_scale: float | None = None,
    ) -> None:
        if len(mixers) != len(drop_path):
            raise UserError(f"got {len(mixers)} mixers and {len(drop_path)} rates of drop_path")
        make: Any = block
        blocks = [
            make(
                dim,
                heads,
                mixer=mixer,
                feedforward=feedforward,
                norm=norm,
                layer_scale=layer_scale,
                drop_path=rate,
            )
            for mixer, rate in zip(mixers, drop_path, strict=True)
        ]
        super().__init__(blocks)
        self.downsample = resampler(in_dim or dim, dim) if resampler is not None else None

    def forward(
        self,
        x: Tensor,
        layout: Layout | None = None,
        *,
        context: Tensor | None = None,
        context_layout: Layout | None = None,
        bias: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> tuple[Tensor, Layout | None]:
        """Resamples and runs the blocks."""
        if self.downsample is not None:
            x, layout = self.downsample(x, layout)
        return super().forward(
            x,
            layout,
            context=context,
            context_layout=context_layout,
            bias=bias,
            mask=mask,
            cache=cache,
        )
