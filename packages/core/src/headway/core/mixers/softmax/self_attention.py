"""Self-attention."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.cache import Cache, KeyValueCache
from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.linear import FusedLinear
from headway.core.mixers.base import TokenMixer, check_heads, last_tokens, without_padding
from headway.core.mixers.softmax.reach import check_chunks, check_window, chunk_mask, window_mask
from headway.core.mixers.softmax.scores import (
    attend,
    attend_to_cache,
    both,
    key_padding,
    split_heads,
)
from headway.core.positions import Position


class SelfAttention(TokenMixer):
    """Multi-head softmax attention of the tokens among themselves.

    Args:
        dim: Channels of a token.
        heads: Heads of the queries.
        kv_heads: Heads of keys and values, a divisor of ``heads`` (grouped-query attention).
        head_dim: Width of a head; ``dim / heads`` if None.
        causal: Whether a token sees only itself and what came before.
        window: How far a token sees, in tokens to either side, or ``(left, right)``; all if None.
        chunks: Tokens of a chunk, for models that hear while somebody speaks: a token sees its own chunk
            and those before, or as many of them as ``(size, chunks)`` says. With a cache, whole chunks
            are given one after the other.
        position: Builds what turns positions into rotations or biases, ``(heads, head_dim)``.
        norm: Builds the norm of queries and keys within each head, ``(head_dim)``.
        qkv_bias: Whether queries, keys and values have a learned bias.
        key_bias: Whether keys have one, where the others do.
        out_bias: Whether the output projection has one.
        dropout: Probability of dropping an attention weight in training.
        out_dropout: Probability of dropping an output channel in training.

    Shape:
        x: (B, N, dim). bias, mask: broadcastable to (B, heads, N, N). Output: (B, N, dim).

    Raises:
        UserError: If the heads do not divide ``dim``, or ``kv_heads`` not ``heads``.

    Source:
        Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; windows: Beltagy et al. 2020,
        https://arxiv.org/abs/2004.05150; grouped queries: Ainslie et al. 2023,
        https://arxiv.org/abs/2305.13245; query and key norms: Dehghani et al. 2023,
        https://arxiv.org/abs/2302.05442.
    """

    supports: ClassVar[frozenset[str]] = frozenset(
        {"lengths", "valid", "offsets", "prefix", "causal", "sizes"}
    )

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        kv_heads: int | None = None,
        head_dim: int | None = None,
        causal: bool = False,
        window: int | tuple[int | None, int | None] | None = None,
        chunks: int | tuple[int, int] | None = None,
        position: Callable[[int, int], Position] | None = None,
        norm: Callable[[int], nn.Module] | None = None,
        qkv_bias: bool = True,
        key_bias: bool = True,
        out_bias: bool = True,
        dropout: float = 0.0,
        out_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.head_dim = check_heads(dim, heads, head_dim)
        self.heads, self.kv_heads = heads, kv_heads if kv_heads is not None else heads
        if self.kv_heads < 1 or heads % self.kv_heads:
            raise UserError(f"kv_heads {self.kv_heads} must divide heads {heads}")
        self.window, self.chunks = check_window(window, causal), check_chunks(chunks, causal)
        self.causal, self.dropout = causal, dropout
        inner, kv_inner = heads * self.head_dim, self.kv_heads * self.head_dim
        self.qkv = FusedLinear(
            dim,
            {"q": inner, "k": kv_inner, "v": kv_inner},
            bias=qkv_bias,
            unbiased=() if key_bias else ("k",),
        )
        # Kept here: a toolbox may put another module in the place of `qkv`.
        self.section_widths = [inner, kv_inner, kv_inner]
        self.query_norm = norm(self.head_dim) if norm is not None else None
        self.key_norm = norm(self.head_dim) if norm is not None else None
        self.position = position(heads, self.head_dim) if position is not None else None
        self.projection = nn.Linear(inner, dim, bias=out_bias)
        self.out_dropout = Dropout(out_dropout)

    def _split(self, x: Tensor) -> list[Tensor]:
        """Returns queries, keys and values, (B, heads, N, head_dim) each, as views."""
        return split_heads(self.head_dim, *self.qkv(x).split(self.section_widths, dim=-1))

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
        query, key, value = self._split(x)
        if self.query_norm is not None and self.key_norm is not None:
            query, key = self.query_norm(query), self.key_norm(key)
        options: dict[str, Any] = {}
        content = query
        positions = key_positions = first = values = None
        if self.position is not None:
            positions = key_positions = query_positions(layout, x.shape[1], x.device, cache)
            query, key = self.position.rotate(query, key, positions, positions)
        if cache is not None:
            if not isinstance(cache, KeyValueCache) or not (self.causal or self.chunks):
                raise UserError(
                    "step by step needs causal=True, or chunks, and the cache of init_cache()"
                )
            if layout.valid is not None:
                raise UserError("with a cache, padding is on the right: Layout.lengths, not valid")
            key, value, first = cache.append(key, value, layout.lengths)
            options["mask"] = mask
            if self.chunks is not None:
                steps = torch.arange(x.shape[1], device=x.device)
                queries = cache.start[:, None] + first[:, None] - 1 + steps
                keys = cache.start[:, None] + torch.arange(key.shape[2], device=x.device)
                seen = chunk_mask(queries, keys, *self.chunks)
                seen = seen & (keys < cache.lengths[:, None])[:, None]
                if self.window is not None:
                    seen = seen & window_mask(queries, keys, *self.window)
                options["mask"] = both(mask, seen[:, None])
            if self.position is not None:
                key_positions = cache_positions(key.shape[2], layout, cache)
        else:
            if self.chunks is not None:
                if layout.offsets is not None or layout.prefix:
                    raise UserError(
                        "chunks count tokens from the first: no packing, no prefix tokens"
                    )
                steps = torch.arange(x.shape[1], device=x.device)
                mask = both(mask, chunk_mask(steps, steps, *self.chunks))
            options = {"causal": self.causal, "window": self.window, **key_padding(layout, mask)}
        if layout.sizes is not None:
            # A merged token counts as often as the tokens it stands for (Bolya et al. 2022, eq. 1).
            bias = add_bias(bias, layout.sizes.to(query.dtype).log()[:, None, None, :])
        if self.position is not None and positions is not None and key_positions is not None:
            prefix = layout.prefix if cache is None else 0
            spec: dict[str, Any] = {}
            if cache is None and in_order(layout) and not x.is_cpu:
                spec = self.position.distance_spec(content, key.shape[2])
            if not spec:
                spec = self.position.bias_spec(content, positions, key_positions, prefix=prefix)
            bias = add_bias(bias, spec.pop("bias", None))
            options.update(spec)
            if self.position.adds_values:
                seen = {
                    "query_positions": positions,
                    "key_positions": key_positions,
                    "prefix": prefix,
                }
                values = partial(self.position.values, **seen)
        options["bias"] = bias
        if first is None or self.chunks is not None:
            out = attend(self, query, key, value, self.dropout, options, values)
        else:
            tensors = (query, key, value, first)
            left = self.window[0] if self.window is not None else None
            out = attend_to_cache(self, *tensors, left, self.dropout, options, values)
        return self.out_dropout(self.projection(out.transpose(1, 2).flatten(2)))

    def last(
        self, x: Tensor, layout: Layout | None = None, *, cache: Cache | None = None
    ) -> Tensor:
        """Returns what it makes of the last token of each row, (B, 1, C), with no other queries."""
        given = layout if layout is not None else Layout()
        plain = (
            self.causal and self.position is None and self.query_norm is None and not self.training
        )
        if not plain or type(self) is not SelfAttention or type(self.qkv) is not FusedLinear:
            return super().last(x, layout, cache=cache)
        if given.valid is not None or given.offsets is not None or given.sizes is not None:
            return super().last(x, layout, cache=cache)
        if given.padded:
            x = without_padding(x, given)
        inner, weight, bias = self.section_widths[0], self.qkv.weight, self.qkv.bias
        of_query, of_rest = (None, None) if bias is None else (bias[:inner], bias[inner:])
        newest = F.linear(last_tokens(x, given), weight[:inner], of_query)
        rest = F.linear(x, weight[inner:], of_rest)
        parts = newest, *rest.split(self.section_widths[1:], dim=-1)
        query, key, value = split_heads(self.head_dim, *parts)
        tokens = given.lengths
        if tokens is None:
            tokens = torch.full((len(x),), x.shape[1], device=x.device)
        if cache is not None:
            assert isinstance(cache, KeyValueCache)
            key, value, first = cache.append(key, value, given.lengths)
            tokens = first + tokens - 1
        left = self.window[0] if self.window is not None else None
        out = attend_to_cache(self, query, key, value, tokens, left, 0.0, {})
        return self.projection(out.transpose(1, 2).flatten(2))

    @property
    def at_once(self) -> int | None:
        """Tokens of a chunk, or one where attention is causal; None if a token sees all of them."""
        return super().at_once if self.chunks is None else self.chunks[0]

    def set_chunks(self, chunks: int | tuple[int, int] | None) -> None:
        """Takes other chunks from now on; nothing that is learned depends on them.

        Raises:
            UserError: As the constructor.
        """
        self.chunks = check_chunks(chunks, self.causal)

    def _reach(self) -> int | None:
        """How far back a token sees, in tokens; None is without limit."""
        left = None if self.window is None else self.window[0]
        if self.chunks is None or self.chunks[1] is None:
            return left
        size, before = self.chunks[0], self.chunks[1]
        seen = size * (before + 1) - 1
        return seen if left is None else min(left, seen)

    def init_cache(
        self,
        batch: int,
        max_length: int,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> KeyValueCache:
        """Returns an empty cache of keys and values, no larger than what is in reach needs."""
        return KeyValueCache(
            batch=batch,
            heads=self.kv_heads,
            max_length=max_length,
            head_dim=self.head_dim,
            reach=self._reach(),
            dtype=dtype or self.qkv.weight.dtype,
            device=device or self.qkv.weight.device,
        )


def in_order(layout: Layout) -> bool:
    """Whether positions count the tokens one by one, anew in each packed item."""
    flat = layout.grid is None or (len(layout.grid) == 1 and layout.offsets is None)
    moved = (layout.positions, layout.valid, layout.levels)
    return flat and layout.prefix == 0 and all(x is None for x in moved)


def query_positions(
    layout: Layout, tokens: int, device: torch.device, cache: Cache | None
) -> Tensor:
    """Returns where the new tokens sit: behind those that a cache has seen."""
    positions = layout.token_positions(tokens, device)
    if cache is not None and layout.positions is None:
        positions = positions + cache.lengths[:, None, None]
    return positions


def cache_positions(tokens: int, layout: Layout, cache: KeyValueCache) -> Tensor:
    """Returns the positions of the keys in a cache: the order in which they came, (B, tokens, 1)."""
    if layout.positions is not None:
        raise UserError(
            "a cache with a bias of positions needs tokens in order, not layout.positions"
        )
    positions = torch.arange(tokens, device=cache.start.device, dtype=torch.float32)
    return (cache.start[:, None] + positions)[..., None]


def add_bias(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Adds two biases of which either may be missing."""
    if first is None or second is None:
        return second if first is None else first
    return first + second
