"""Linear attention as a mixer."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from headway.core.cache import Cache, RecurrentCache
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.linear import FusedLinear
from headway.core.mixers.base import TokenMixer, check_heads, check_rotation
from headway.core.mixers.kernelized.feature_maps import EluPlusOne, FeatureMap
from headway.core.mixers.softmax.scores import split_heads
from headway.core.mixers.softmax.self_attention import query_positions
from headway.core.ops import linear_attention
from headway.core.positions import Position
from headway.core.systems import system


@system(
    id=None,
    name="Linear transformer",
    paper="https://arxiv.org/abs/2006.16236",
    claim="products of features give the same step by step from a state of fixed size as all at once",
    test="packages/core/tests/parts/mixers/kernelized/test_linear_attention.py",
)
class LinearAttention(TokenMixer):
    """Attention whose weights are products of features: linear in N, and a fixed state when causal.

    Args:
        dim: Channels of a token.
        heads: Heads.
        head_dim: Width of a head; ``dim / heads`` if None.
        causal: Whether a token sees only itself and what came before.
        feature_map: Builds what turns queries and keys into features, ``(head_dim)``.
        decay: Builds what says how much of the state each token leaves, ``(dim, heads, features)``: one
            number per head, or one per feature. Needs ``causal``.
        norm: Builds a norm of each head's output, ``(head_dim)``, in the place of the division by the sum
            of the weights, as retention and gated linear attention have it.
        gate: Builds the activation of a gate that each token puts on what it has read; none if None.
        position: Builds what rotates queries and keys before the feature map, ``(heads, head_dim)``.
        qkv_bias: Whether queries, keys and values have a learned bias.
        out_bias: Whether the output projection has one.

    Shape:
        x: (B, N, dim). Output: the same.

    Raises:
        UserError: If the heads do not divide ``dim``, a decay is given without ``causal``, or features may
            be negative and there is no norm.

    Source:
        Katharopoulos et al. 2020, https://arxiv.org/abs/2006.16236; decay and gate: Yang et al. 2023,
        https://arxiv.org/abs/2312.06635, section 4.4.
    """

    supports: ClassVar[frozenset[str]] = frozenset(
        {"lengths", "valid", "prefix", "causal", "sizes"}
    )

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        head_dim: int | None = None,
        causal: bool = False,
        feature_map: Callable[[int], FeatureMap] = EluPlusOne,
        decay: Callable[[int, int, int], nn.Module] | None = None,
        norm: Callable[[int], nn.Module] | None = None,
        gate: Callable[[], nn.Module] | None = None,
        position: Callable[[int, int], Position] | None = None,
        qkv_bias: bool = True,
        out_bias: bool = True,
    ) -> None:
        super().__init__()
        self.head_dim = check_heads(dim, heads, head_dim)
        self.heads, self.causal = heads, causal
        inner = heads * self.head_dim
        self.qkv = FusedLinear(dim, {"q": inner, "k": inner, "v": inner}, bias=qkv_bias)
        self.feature_map = feature_map(self.head_dim)
        if decay is not None and not causal:
            raise UserError("a decay needs causal=True: it goes by how long ago a token was")
        if self.feature_map.signed and norm is None:
            raise UserError(
                f"{type(self.feature_map).__name__} may be negative: their sum is nothing to divide by; "
                "give norm (RMSNorm)"
            )
        width = self.feature_map.width
        self.decay = decay(dim, heads, width) if decay is not None else None
        self.norm = norm(self.head_dim) if norm is not None else None
        self.gate = nn.Linear(dim, inner, bias=qkv_bias) if gate is not None else None
        self.gate_activation = gate() if gate is not None else None
        self.position = position(heads, self.head_dim) if position is not None else None
        check_rotation(self, self.position)
        self.projection = nn.Linear(inner, dim, bias=out_bias)

    def mix(
        self,
        x: Tensor,
        layout: Layout,
        *,
        cache: Cache | None,
    ) -> Tensor:
        """Averages the values."""
        tokens = x.shape[1]
        query, key, value = split_heads(self.head_dim, *self.qkv(x).chunk(3, dim=-1))
        if self.position is not None:
            positions = query_positions(layout, tokens, x.device, cache)
            query, key = self.position.rotate(query, key, positions, positions)
        query, key = self.feature_map(query), self.feature_map(key)
        if layout.sizes is not None:
            # A merged token counts as often as the tokens it stands for.
            key = key * layout.sizes.to(key.dtype)[:, None, :, None]
        state = None
        if cache is not None:
            if not isinstance(cache, RecurrentCache) or not self.causal:
                raise UserError("step by step needs causal=True and the cache of init_cache()")
            state = cache.state
        real = layout.token_mask(tokens)
        out, state = linear_attention(
            query,
            key,
            value,
            mask=real,
            causal=self.causal,
            log_decay=None if self.decay is None else self.decay(x),
            normalize=self.norm is None,
            state=state,
        )
        if self.norm is not None:
            out = self.norm(out)
        if cache is not None:
            assert isinstance(cache, RecurrentCache)
            cache.state = state
            cache.lengths = cache.lengths + (tokens if real is None else real.sum(dim=1))
        out = out.transpose(1, 2).flatten(2)
        if self.gate is not None and self.gate_activation is not None:
            out = out * self.gate_activation(self.gate(x))
        return self.projection(out)

    def init_cache(
        self,
        batch: int,
        max_length: int,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> RecurrentCache:
        """Returns the state of no tokens; its size does not depend on ``max_length``."""
        weight = self.projection.weight
        dtype = torch.promote_types(dtype or weight.dtype, torch.float32)
        columns = self.head_dim + (self.norm is None)
        shape = (batch, self.heads, self.feature_map.width, columns)
        return RecurrentCache(torch.zeros(shape, dtype=dtype, device=device or weight.device))
