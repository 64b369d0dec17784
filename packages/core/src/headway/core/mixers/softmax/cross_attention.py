"""Cross-attention."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from headway.core.cache import Cache, CrossCache
from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.linear import FusedLinear
from headway.core.mixers.base import TokenMixer, check_heads
from headway.core.mixers.softmax.scores import attend, key_padding, split_heads


class CrossAttention(TokenMixer):
    """Multi-head softmax attention of the tokens to another sequence, the ``context``.

    Args:
        dim: Channels of a token.
        heads: Heads.
        context_dim: Channels of a context token; ``dim`` if None.
        head_dim: Width of a head; ``dim / heads`` if None.
        norm: Builds the norm of queries and keys within each head, ``(head_dim)``.
        qkv_bias: Whether queries, keys and values have a learned bias.
        key_bias: Whether keys have one, where the others do.
        out_bias: Whether the output projection has one.
        dropout: Probability of dropping an attention weight in training.
        out_dropout: Probability of dropping an output channel in training.

    Shape:
        x: (B, N, dim). context: (B, M, context_dim). bias, mask: broadcastable to (B, heads, N, M).
        Output: (B, N, dim).

    Source:
        Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.2.3.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "valid", "offsets", "prefix"})

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        context_dim: int | None = None,
        head_dim: int | None = None,
        norm: Callable[[int], nn.Module] | None = None,
        qkv_bias: bool = True,
        key_bias: bool = True,
        out_bias: bool = True,
        dropout: float = 0.0,
        out_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.head_dim = check_heads(dim, heads, head_dim)
        self.heads, self.dropout = heads, dropout
        inner = heads * self.head_dim
        self.q = nn.Linear(dim, inner, bias=qkv_bias)
        self.kv = FusedLinear(
            context_dim or dim,
            {"k": inner, "v": inner},
            bias=qkv_bias,
            unbiased=() if key_bias else ("k",),
        )
        self.query_norm = norm(self.head_dim) if norm is not None else None
        self.key_norm = norm(self.head_dim) if norm is not None else None
        self.projection = nn.Linear(inner, dim, bias=out_bias)
        self.out_dropout = Dropout(out_dropout)

    def _memory(self, context: Tensor | None, cache: Cache | None) -> tuple[Tensor, Tensor]:
        stale = None
        if isinstance(cache, CrossCache) and cache.keys is not None and cache.values is not None:
            if cache.stale is None:
                return cache.keys, cache.values
            stale = cache.stale.nonzero()[:, 0]
        if context is None:
            raise UserError("CrossAttention needs context=, the sequence to attend to")
        seen = context if stale is None else context[stale]
        key, value = split_heads(self.head_dim, *self.kv(seen).chunk(2, dim=-1))
        if self.key_norm is not None:
            key = self.key_norm(key)
        if not isinstance(cache, CrossCache):
            return key, value
        cache.store(key, value, stale)
        assert cache.keys is not None
        assert cache.values is not None
        return cache.keys, cache.values

    def mix(
        self,
        x: Tensor,
        layout: Layout,
        *,
        context: Tensor | None,
        context_layout: Layout | None,
        bias: Tensor | None,
        mask: Tensor | None,
        cache: Cache | None,
    ) -> Tensor:
        """Attends to the context."""
        [query] = split_heads(self.head_dim, self.q(x))
        if self.query_norm is not None:
            query = self.query_norm(query)
        key, value = self._memory(context, cache)
        options = key_padding(context_layout, mask)
        if "offsets" in options:
            if layout.offsets is None:
                raise UserError("a packed context needs packed queries: give layout.offsets")
            options.update(offsets=layout.offsets, key_offsets=options["offsets"])
        options["bias"] = bias
        out = attend(self, query, key, value, self.dropout, options)
        return self.out_dropout(self.projection(out.transpose(1, 2).flatten(2)))

    def init_cache(
        self,
        batch: int,
        max_length: int,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> CrossCache:
        """Returns a cache that keeps the projected context."""
        return CrossCache(batch, device or self.q.weight.device)
