"""The decoder stack."""

from functools import partial
from typing import Any

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories, MixerFactory
from headway.core.blocks.residual import NormFactory
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import SelfAttention, TokenMixer
from headway.core.norms import LayerNorm
from headway.core.stacks.stack import Stack, depth_rates, mixer_for

CausalSelfAttention = partial(SelfAttention, causal=True)


class Decoder(Stack):
    """Causal blocks, with cross-attention to a context if ``cross`` is given; runs with a cache.

    Args:
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        mixer: Builds the causal token mixer, ``(dim, heads)``; a sequence is cycled over the depth.
        cross: Builds the mixer that reads the context, ``(dim, heads)``; none if None.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block; see ``Encoder``, with ``cross=`` where there is one.
        final_norm: Whether a norm ends the stack.
        layer_scale: Where a learned scale of each branch starts; none if None.
        drop_path: Rate of stochastic depth of the last block; it rises linearly from 0.
        checkpointing: Whether to recompute blocks in the backward pass to save memory.

    Shape:
        x: (B, N, dim). context: (B, M, C). Output: (B, N, dim) and the layout.

    Raises:
        UserError: If a mixer is not causal.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        *,
        mixer: MixerFactories = CausalSelfAttention,
        cross: MixerFactory | None = None,
        feedforward: FeedForwardFactory = MLP,
        norm: NormFactory = LayerNorm,
        block: BlockFactory = PreNormBlock,
        final_norm: bool = True,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        own = {"cross": cross} if cross is not None else {}
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
                **own,
            )
            for place, rate in enumerate(depth_rates(drop_path, depth))
        ]
        super().__init__(blocks, norm(dim) if final_norm else None, checkpointing=checkpointing)
        for module in self.modules():
            if (
                isinstance(module, TokenMixer)
                and "context" not in module.supports
                and not module.causal
            ):
                remedy = (
                    "build it with causal=True"
                    if "causal" in module.supports
                    else "choose a mixer that supports causal"
                )
                raise UserError(
                    f"a Decoder needs causal mixers, {type(module).__name__} is not; {remedy}"
                )
