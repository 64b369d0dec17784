"""Attention whose scores have a residual stream of their own."""

from typing import ClassVar

import torch
from torch import Tensor

from headway.core.cache import Cache, CacheGroup, ScoreCache
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers.softmax.scores import attend, key_padding
from headway.core.mixers.softmax.self_attention import SelfAttention, add_bias
from headway.core.systems import system

# Channels of a head up to which queries and keys are joined: as wide as fused kernels go.
WIDEST = 256


@system(
    id=None,
    name="RealFormer",
    paper="https://arxiv.org/abs/2012.11747",
    claim="the scores of a layer are added to those of the next one before the softmax",
    test="packages/core/tests/parts/mixers/softmax/test_score_residual.py",
)
class ScoreResidualAttention(SelfAttention):
    """Self-attention that adds the scores of the layer before to its own, and hands on the sum.

    The scores travel in a ``ScoreCache`` that all blocks of a stack share for one pass; see
    ``shared_scores``. Queries and keys of all layers so far stand side by side there, so that fused attention
    adds the scores up and none are stored, until heads are wider than 256 channels: then what came before
    becomes a bias. Without one this is plain self-attention. Arguments are those of ``SelfAttention``.

    Shape:
        x: (B, N, dim). Output: (B, N, dim).

    Source:
        He et al. 2020, https://arxiv.org/abs/2012.11747, section 3.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "valid", "prefix"})

    @property
    def at_once(self) -> int | None:
        """None: its cache holds the scores of one pass and no past."""
        return None

    def mix(
        self,
        x: Tensor,
        layout: Layout,
        *,
        bias: Tensor | None,
        mask: Tensor | None,
        cache: Cache | None,
    ) -> Tensor:
        """Attends."""
        if cache is None:
            return super().mix(x, layout, bias=bias, mask=mask, cache=None)
        limits = (self.window, self.chunks, self.position)
        if self.causal or any(limit is not None for limit in limits):
            raise UserError(
                "scores are handed on by attention without causal, window, chunks and position; leave these "
                "out, or use SelfAttention"
            )
        if not isinstance(cache, ScoreCache):
            raise UserError(
                f"ScoreResidualAttention keeps scores in a ScoreCache, got {type(cache).__name__}; "
                "use shared_scores(stack), or SelfAttention to decode step by step"
            )
        query, key, value = self._split(x)
        if self.query_norm is not None and self.key_norm is not None:
            query, key = self.query_norm(query), self.key_norm(key)
        query = query * self.head_dim**-0.5
        if cache.query is not None and cache.key is not None:
            if cache.query.shape[-1] + self.head_dim > WIDEST:
                cache.bias, cache.query, cache.key = cache.scores(), None, None
            else:
                query = torch.cat([cache.query, query], dim=-1)
                key = torch.cat([cache.key, key], dim=-1)
        cache.query, cache.key, cache.bias = query, key, add_bias(bias, cache.bias)
        options = {"bias": cache.bias, "scale": 1.0, **key_padding(layout, mask)}
        out = attend(self, query, key, value, self.dropout, options)
        return self.out_dropout(self.projection(out.transpose(1, 2).flatten(2)))


def shared_scores(stack: torch.nn.Module, batch: int) -> CacheGroup | None:
    """Returns what lets the scores of a stack travel for one pass; None if no mixer hands them on.

    Args:
        stack: A stack of blocks with ``blocks``.
        batch: Items.
    """
    shared = ScoreCache(batch)
    blocks = []
    for block in stack.blocks:  # pyright: ignore[reportGeneralTypeIssues]
        mixers = {
            name: shared
            for name, child in block.named_children()
            for mixer in child.modules()
            if isinstance(mixer, ScoreResidualAttention)
        }
        blocks.append(CacheGroup(mixers))
    return CacheGroup(blocks) if any(group.caches for group in blocks) else None
