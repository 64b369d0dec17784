"""Blocks that put each function on a residual branch of its own."""

from collections.abc import Callable, Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from headway.core.blocks.residual import (
    NormFactory,
    PostNorm,
    PreNorm,
    Residual,
    ResidualPostNorm,
    SandwichNorm,
)
from headway.core.cache import Cache, CacheGroup
from headway.core.feedforward import MLP, FeedForward
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention, TokenMixer
from headway.core.mixers.base import last_tokens
from headway.core.norms import LayerNorm
from headway.core.sublayer import Sublayer
from headway.core.taps import tap

MixerFactory = Callable[[int, int], TokenMixer]
# The sequence comes first: a parser that meets the factory first cannot write a sequence down.
MixerFactories = Sequence[MixerFactory] | MixerFactory
FeedForwardFactory = Callable[[int], FeedForward]
# The stack gives further arguments (mixer=, feedforward=, norm=, ...) by keyword. The type names only
# the two in front, which is what tells a configuration that they need not be written down.
BlockFactory = Callable[[int, int], Sublayer]


class Block(Sublayer):
    """Runs its sublayers in order: mixer, cross mixer if there is one, feed-forward.

    The sublayers are the children of the block, so a toolbox can replace one by a ``Chain`` with
    something behind it (token merging between mixer and feed-forward).

    Args:
        dim: Channels of a token.
        heads: Heads of the mixers.
        mixer: Builds the token mixer, ``(dim, heads)``.
        cross: Builds the mixer that reads the context, ``(dim, heads)``; none if None.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        layer_scale: Where a learned scale of each branch starts; none if None.
        drop_path: Probability of dropping a branch of an item in training.

    Shape:
        x: (B, N, dim). Output: (B, N, dim) and the layout.
    """

    residual: ClassVar[type[Residual]] = PreNorm

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        mixer: MixerFactory = SelfAttention,
        cross: MixerFactory | None = None,
        feedforward: FeedForwardFactory = MLP,
        norm: NormFactory = LayerNorm,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()

        def sublayer(function: nn.Module) -> Residual:
            return self.residual(
                dim, function, norm=norm, layer_scale=layer_scale, drop_path=drop_path
            )

        self.mixer = sublayer(mixer(dim, heads))
        if cross is not None:
            self.cross = sublayer(cross(dim, heads))
        self.feedforward = sublayer(feedforward(dim))

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
        """Runs the sublayers."""
        for name, sublayer in self.named_children():
            x, layout = sublayer(
                x,
                layout,
                context=context,
                context_layout=context_layout,
                bias=bias,
                mask=mask,
                cache=cast(CacheGroup, cache).get(name) if cache is not None else None,
            )
        tap(self, "output", x)
        return x, layout

    def last(
        self, x: Tensor, layout: Layout | None = None, *, cache: Cache | None = None
    ) -> Tensor:
        """Returns what it makes of the last token of each row, (B, 1, C)."""
        mixer, *others = self.children()
        named = cast(CacheGroup, cache).get("mixer") if cache is not None else None
        alone = all(isinstance(one, Residual) and one.stepwise for one in others)
        if type(self).forward is not Block.forward or not isinstance(mixer, Residual) or not alone:
            return last_tokens(self(x, layout, cache=cache)[0], layout)
        x = mixer.last(x, layout, named)
        for sublayer in others:
            x, _ = sublayer(x)
        tap(self, "output", x)
        return x

    def init_cache(
        self,
        batch: int,
        max_length: int,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> CacheGroup:
        """Returns one cache for each mixer of the block."""
        return CacheGroup(
            {
                name: mixer.init_cache(batch, max_length, dtype, device)
                for name, child in self.named_children()
                for mixer in child.modules()
                if isinstance(mixer, TokenMixer)
            }
        )


class PreNormBlock(Block):
    """Norm before each branch: trains without warm-up, the usual choice.

    Source:
        Xiong et al. 2020, https://arxiv.org/abs/2002.04745.
    """


class PostNormBlock(Block):
    """Norm after each sum, as in the original transformer."""

    residual: ClassVar[type[Residual]] = PostNorm


class ResidualPostNormBlock(Block):
    """Norm at the end of each branch, as in Swin v2."""

    residual: ClassVar[type[Residual]] = ResidualPostNorm


class SandwichNormBlock(Block):
    """Norm at both ends of each branch."""

    residual: ClassVar[type[Residual]] = SandwichNorm
