"""A block whose mixer and feed-forward read the same tokens at the same time."""

from typing import cast

import torch
from torch import Tensor

from headway.core.blocks.block import FeedForwardFactory, MixerFactory
from headway.core.blocks.drop_path import DropPath
from headway.core.blocks.layer_scale import LayerScale
from headway.core.blocks.residual import NormFactory
from headway.core.cache import Cache, CacheGroup
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.sublayer import Sublayer
from headway.core.taps import tap


class ParallelBlock(Sublayer):
    """``x + mixer(norm(x)) + feedforward(norm(x))`` with one norm for both, or one for each.

    Args:
        dim: Channels of a token.
        heads: Heads of the mixer.
        mixer: Builds the token mixer, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norm, ``(dim)``.
        layer_scale: Where a learned scale of each branch starts; none if None.
        drop_path: Probability of dropping both branches of an item in training.
        shared_norm: Whether mixer and feed-forward read the same norm (GPT-NeoX: each its own).

    Shape:
        x: (B, N, dim). Output: (B, N, dim) and the layout.

    Source:
        Wang and Komatsuzaki 2021 (GPT-J); Dehghani et al. 2023, https://arxiv.org/abs/2302.05442; a norm for
        each: Black et al. 2022, https://arxiv.org/abs/2204.06745, section 2.1.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        mixer: MixerFactory = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
        norm: NormFactory = LayerNorm,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
        shared_norm: bool = True,
    ) -> None:
        super().__init__()
        self.norm = norm(dim)
        self.feedforward_norm = None if shared_norm else norm(dim)
        self.mixer = mixer(dim, heads)
        self.feedforward = feedforward(dim)
        scales = [
            LayerScale(dim, layer_scale) if layer_scale is not None else None for _ in range(2)
        ]
        self.mixer_scale, self.feedforward_scale = scales
        self.drop_path = DropPath(drop_path) if drop_path else None

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
        """Adds both branches to the stream."""
        normed = self.norm(x)
        own = cast(CacheGroup, cache).get("mixer") if cache is not None else None
        if "context" in self.mixer.supports:
            mixed = self.mixer(
                normed, layout, context=context, context_layout=context_layout, cache=own
            )
        else:
            mixed = self.mixer(normed, layout, bias=bias, mask=mask, cache=own)
        if self.feedforward_norm is not None:
            normed = self.feedforward_norm(x)
        fed = self.feedforward(normed, layout)
        if self.mixer_scale is not None and self.feedforward_scale is not None:
            mixed, fed = self.mixer_scale(mixed), self.feedforward_scale(fed)
        branch = mixed + fed
        x = x + (self.drop_path(branch) if self.drop_path is not None else branch)
        tap(self, "output", x)
        return x, layout

    def init_cache(
        self,
        batch: int,
        max_length: int,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> CacheGroup:
        """Returns the cache of the mixer."""
        return CacheGroup({"mixer": self.mixer.init_cache(batch, max_length, dtype, device)})
