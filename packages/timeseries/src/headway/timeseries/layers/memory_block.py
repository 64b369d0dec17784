"""The block of the LMUFormer: one batch norm, behind the memory."""

import torch
from torch import Tensor

from headway.core.blocks.block import Block, FeedForwardFactory, MixerFactory
from headway.core.blocks.residual import NormFactory, Residual
from headway.core.cache import Cache
from headway.core.layout import Layout
from headway.core.mixers import LegendreMemory
from headway.core.norms import MaskedBatchNorm
from headway.core.sublayer import Sublayer
from headway.core.taps import tap
from headway.timeseries.layers.causal_convolution import ConvolutionalChannelMixer


class MaskedNormBranch(Residual):
    """``x + norm(f(x))`` with a batch norm that leaves out padding."""

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
        """Adds the branch to the stream."""
        branch = self.branch(x, layout, context, context_layout, bias, mask, cache)
        real = layout.token_mask(x.shape[1]) if layout is not None else None
        branch = self.norm(branch, real)
        tap(self, "branch", branch)
        return self.add(x, branch), layout


class MemoryBlock(Block):
    """``x + norm(memory(x))``, then ``x + feedforward(x)``, whose norms are its own.

    Args:
        dim: Channels of a token.
        heads: Signals that the memory keeps (heads of another mixer).
        mixer: Builds the mixer, ``(dim, heads)``.
        feedforward: Builds the channel mixer, ``(dim)``.
        norm: Builds the norm behind the mixer, ``(dim)``, called as ``(x, mask)``.
        layer_scale: Where a learned scale of each branch starts; none if None.
        drop_path: Probability of dropping a branch of an item in training.

    Shape:
        x: (B, N, dim). Output: (B, N, dim) and the layout.

    Source:
        Liu et al. 2024 (LMUFormer), https://arxiv.org/abs/2402.04882, section 4 and its code.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        mixer: MixerFactory = LegendreMemory,
        feedforward: FeedForwardFactory = ConvolutionalChannelMixer,
        norm: NormFactory = MaskedBatchNorm,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        Sublayer.__init__(self)
        self.mixer = MaskedNormBranch(
            dim, mixer(dim, heads), norm=norm, layer_scale=layer_scale, drop_path=drop_path
        )
        self.feedforward = Residual(
            dim,
            feedforward(dim),
            norm=torch.nn.Identity,
            layer_scale=layer_scale,
            drop_path=drop_path,
        )
