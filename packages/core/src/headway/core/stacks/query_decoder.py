"""A decoder whose tokens are queries: they see each other and a context, in no order."""

from typing import Any

from torch import Tensor

from headway.core.blocks import PostNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories, MixerFactory
from headway.core.blocks.residual import NormFactory
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.mixers import CrossAttention, SelfAttention
from headway.core.norms import LayerNorm
from headway.core.stacks.stack import (
    Stack,
    depth_rates,
    mixer_for,
    zero_padding,
)


class QueryDecoder(Stack):
    """Blocks of self-attention among queries and cross-attention to a context; not causal.

    Args:
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        mixer: Builds the token mixer, ``(dim, heads)``; a sequence is cycled over the depth.
        cross: Builds the mixer that reads the context, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block, ``(dim, heads, mixer=, cross=, ...)``.
        final_norm: Whether a norm ends the stack.
        drop_path: Rate of stochastic depth of the last block; it rises linearly from 0.
        checkpointing: Whether to recompute blocks in the backward pass to save memory.

    Shape:
        x: (B, N, dim). context: (B, M, C). Output: (B, N, dim) and the layout.

    Source:
        Carion et al. 2020 (DETR), https://arxiv.org/abs/2005.12872, section 3.2.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        *,
        mixer: MixerFactories = SelfAttention,
        cross: MixerFactory = CrossAttention,
        feedforward: FeedForwardFactory = MLP,
        norm: NormFactory = LayerNorm,
        block: BlockFactory = PostNormBlock,
        final_norm: bool = True,
        drop_path: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        make: Any = block
        blocks = [
            make(
                dim,
                heads,
                mixer=mixer_for(mixer, place),
                cross=cross,
                feedforward=feedforward,
                norm=norm,
                drop_path=rate,
            )
            for place, rate in enumerate(depth_rates(drop_path, depth))
        ]
        super().__init__(blocks, norm(dim) if final_norm else None, checkpointing=checkpointing)

    def after_each(
        self,
        x: Tensor,
        layout: Layout | None = None,
        *,
        context: Tensor,
        context_layout: Layout | None = None,
    ) -> list[Tensor]:
        """Returns the normed output of every block, for losses on all of them; the last is that of a call."""
        context = zero_padding(context, context_layout)
        outs: list[Tensor] = []
        for block in self.blocks:
            x, layout = self.recomputed(block)(
                x, layout, context=context, context_layout=context_layout
            )
            outs.append(self.norm(x) if self.norm is not None else x)
        return outs
