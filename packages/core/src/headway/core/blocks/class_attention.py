"""A block that changes the tokens in front alone."""

import torch
from torch import Tensor

from headway.core.blocks.block import Block, FeedForwardFactory, MixerFactory
from headway.core.blocks.residual import NormFactory
from headway.core.cache import Cache
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.mixers import ClassAttention
from headway.core.mixers.softmax.class_attention import reading_tokens
from headway.core.norms import LayerNorm
from headway.core.taps import tap


class ClassAttentionBlock(Block):
    """The class token reads all tokens and goes through the feed-forward; the others pass unchanged.

    Args:
        dim: Channels of a token.
        heads: Heads of the mixer.
        mixer: Builds the mixer, ``(dim, heads)``; what it returns for other tokens should be zero.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        layer_scale: Where a learned scale of each branch starts; none if None.
        drop_path: Probability of dropping a branch of an item in training.

    Shape:
        x: (B, N, dim), the tokens that read in front (``layout.prefix``, or one). Output: (B, N, dim) and
        the layout.

    Source:
        Touvron et al. 2021, https://arxiv.org/abs/2103.17239, section 4.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        mixer: MixerFactory = ClassAttention,
        feedforward: FeedForwardFactory = MLP,
        norm: NormFactory = LayerNorm,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(
            dim,
            heads,
            mixer=mixer,
            feedforward=feedforward,
            norm=norm,
            layer_scale=layer_scale,
            drop_path=drop_path,
        )

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
        """Runs the mixer, and the feed-forward for the tokens in front."""
        if context is not None or cache is not None:
            raise UserError("a ClassAttentionBlock takes neither a context nor a cache")
        x, layout = self.mixer(x, layout, bias=bias, mask=mask)
        readers = reading_tokens(layout)
        front, _ = self.feedforward(x[:, :readers], Layout(prefix=readers))
        x = torch.cat([front, x[:, readers:]], dim=1)
        tap(self, "output", x)
        return x, layout
