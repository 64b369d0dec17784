"""The encoder stack."""

from collections.abc import Sequence
from typing import Any, TypedDict

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.blocks.residual import NormFactory
from headway.core.feedforward import MLP
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.stacks.stack import Stack, depth_rates, mixer_for


class EncoderStackOptions(TypedDict, total=False):
    """What other encoder stacks pass on."""

    mixer: MixerFactories
    feedforward: FeedForwardFactory
    norm: NormFactory
    block: BlockFactory
    final_norm: bool
    layer_scale: float | None
    drop_path: float | Sequence[float]
    checkpointing: bool


class Encoder(Stack):
    """Blocks in which every token may see every other one.

    Args:
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        mixer: Builds the token mixer, ``(dim, heads)``; a sequence is cycled over the depth.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block, ``(dim, heads, mixer=, feedforward=, norm=, layer_scale=, drop_path=)``.
        final_norm: Whether a norm ends the stack (pre-norm blocks need one somewhere).
        layer_scale: Where a learned scale of each branch starts; none if None.
        drop_path: Rate of stochastic depth of the last block, to which it rises linearly from 0; or of each.
        checkpointing: Whether to recompute blocks in the backward pass to save memory.

    Shape:
        x: (B, N, dim). Output: (B, N', dim) and the layout.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        *,
        mixer: MixerFactories = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
        norm: NormFactory = LayerNorm,
        block: BlockFactory = PreNormBlock,
        final_norm: bool = True,
        layer_scale: float | None = None,
        drop_path: float | Sequence[float] = 0.0,
        checkpointing: bool = False,
    ) -> None:
        make: Any = block
        blocks = [
            make(
                dim,
                heads,
                mixer=mixer_for(mixer, place),
                feedforward=feedforward,
                norm=norm,
                layer_scale=layer_scale,
                drop_path=rate,
            )
            for place, rate in enumerate(depth_rates(drop_path, depth))
        ]
        super().__init__(blocks, norm(dim) if final_norm else None, checkpointing=checkpointing)
