"""Attention that finds out where in a text it is, and reads what stands there."""

from functools import partial
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import FeedForwardFactory, MixerFactory
from headway.core.cache import Cache, CacheGroup, CrossCache
from headway.core.errors import UserError
from headway.core.feedforward import SwiGLU
from headway.core.layout import Layout
from headway.core.linear import FusedLinear
from headway.core.mixers import LearnedDecay, LinearAttention, ScaledFeatures
from headway.core.mixers.base import TokenMixer
from headway.core.mixers.softmax.scores import attend, key_padding
from headway.core.norms import LayerNorm, RMSNorm
from headway.core.positions.sinusoidal import sinusoids

GATED_LINEAR = partial(
    LinearAttention,
    causal=True,
    feature_map=ScaledFeatures,
    decay=LearnedDecay,
    norm=RMSNorm,
    gate=nn.SiLU,
    qkv_bias=False,
    out_bias=False,
)
"""Gated linear attention as published, with values as wide as keys."""


class PositionAwareAttention(TokenMixer):
    """Two attentions with a causal network between them that sees nothing but places in the text.

    The first looks for the token of the text that the speech so far belongs to, and returns its place in the
    place of its content; the network says from the places so far which one comes next, and the second reads
    the text there. What is read follows from places alone, so two words that are alike are not confused.

    Args:
        dim: Channels of a token.
        heads: Heads of the network; both attentions have one.
        context_dim: Channels of a token of the text; ``dim`` if None.
        mixer: Builds the causal mixer of the network, ``(dim, heads)``.
        feedforward: Builds its feed-forward, ``(dim)``.

    Shape:
        x: (B, N, dim). context: (B, M, context_dim). Output: (B, N, dim).

    Raises:
        UserError: If ``dim`` is odd.

    Source:
        Lemerle et al. 2024 (Small-E), https://arxiv.org/abs/2406.04467, as its code has it, without
        the rotation of queries and keys, which that of https://arxiv.org/abs/2410.23320 leaves out, too.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "valid"})
    causal = True

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        context_dim: int | None = None,
        mixer: MixerFactory = GATED_LINEAR,
        feedforward: FeedForwardFactory = SwiGLU,
    ) -> None:
        super().__init__()
        if dim % 2:
            raise UserError(f"dim is {dim}; places are sines and cosines, so it must be even")
        self.dim = dim
        self.q = nn.Linear(dim, dim)
        self.kv = FusedLinear(context_dim or dim, {"k": dim, "v": dim})
        self.query_norm, self.key_norm, self.value_norm = (
            LayerNorm(dim, eps=1e-5) for _ in range(3)
        )
        self.network = PreNormBlock(dim, heads, mixer=mixer, feedforward=feedforward)

    def mix(
        self,
        x: Tensor,
        layout: Layout,
        *,
        context: Tensor | None,
        context_layout: Layout | None,
        mask: Tensor | None,
        cache: Cache | None,
    ) -> Tensor:
        """Reads the text."""
        caches = cast(CacheGroup, cache) if cache is not None else None
        key, value = self._memory(context, None if caches is None else caches["memory"])
        places = torch.arange(key.shape[2], device=x.device)[:, None]
        places = sinusoids(places, self.dim).to(x).expand_as(key)
        options = key_padding(context_layout, mask)
        query = self.query_norm(self.q(x))[:, None]
        found = attend(self, query, key, places, 0.0, options)[:, 0]
        own = None if caches is None else caches["network"]
        told, _ = self.network(found, layout, cache=own)
        return attend(self, told[:, None], places, value, 0.0, options)[:, 0]

    def _memory(self, context: Tensor | None, cache: Cache | None) -> tuple[Tensor, Tensor]:
        """Returns keys and values of the text, each (B, 1, M, dim)."""
        kept = cast(CrossCache | None, cache)
        if kept is not None and kept.stale is None and kept.keys is not None:
            assert kept.values is not None
            return kept.keys, kept.values
        if context is None:
            raise UserError("PositionAwareAttention needs context=, the text that it reads")
        key, value = self.kv(context).chunk(2, dim=-1)
        key, value = self.key_norm(key)[:, None], self.value_norm(value)[:, None]
        if kept is not None:
            kept.store(key, value)
        return key, value

    def init_cache(
        self,
        batch: int,
        max_length: int,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> CacheGroup:
        """Returns what keeps the projected text and the state of the network."""
        place = device or self.q.weight.device
        return CacheGroup(
            {
                "memory": CrossCache(batch, place),
                "network": self.network.init_cache(batch, max_length, dtype, device),
            }
        )
