"""Linear attention whose memory is gated by the token: AGaLiTe."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from headway.core.cache import Cache, RecurrentCache
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.linear import FusedLinear
from headway.core.mixers.base import TokenMixer, check_heads
from headway.core.ops import associative_scan
from headway.core.systems import system


@system(
    id=213,
    name="Recurrent linear transformer (AGaLiTe)",
    paper="https://arxiv.org/abs/2310.15719",
    claim="gates that are chosen by the token keep one cue and forget those before; the same step by step "
    "from a state of fixed size as all at once",
    test="packages/core/tests/parts/mixers/kernelized/test_gated_linear.py",
)
class GatedLinearAttention(TokenMixer):
    """Linear attention that writes and forgets by gates, with a memory of vectors in the place of matrices.

    Keys and queries are outer products of two positive vectors each, ``expansion * head_dim`` features. Each
    feature of the keys and each channel of the values has a gate, which says how much of the memory the token
    replaces. What would be a matrix of features times channels is kept as ``waves`` pairs of vectors, whose
    products agree with it on average: a pair is written with the cosine of a frequency at the token's place.

    Args:
        dim: Channels of a token.
        heads: Heads.
        head_dim: Width of a head; ``dim / heads`` if None.
        expansion: Features of a head as a multiple of its width (eta).
        waves: Pairs of vectors (r); more are nearer to the matrix.
        eps: Added to the sum of the weights.

    Shape:
        x: (B, N, dim). Output: the same.

    Raises:
        UserError: If the heads do not divide ``dim``, or a size is not positive.

    Source:
        Pramanik et al. 2023, https://arxiv.org/abs/2310.15719, algorithm 2; places, frequencies and eps as in
        https://github.com/subho406/agalite (there, gates of GRU stand in the place of the sums around it).
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "valid", "causal"})
    causal = True

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        head_dim: int | None = None,
        expansion: int = 4,
        waves: int = 4,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.head_dim = check_heads(dim, heads, head_dim)
        for name, size in (("expansion", expansion), ("waves", waves)):
            if size < 1:
                raise UserError(f"{name} must be at least 1, got {size}")
        self.heads, self.expansion, self.waves, self.eps = heads, expansion, waves, eps
        inner, wide = heads * self.head_dim, heads * expansion
        # In each head: keys, queries, values, gates of values, gates of keys.
        self.project = FusedLinear(
            dim, dict.fromkeys(("k", "q", "v", "value_gate", "key_gate"), inner), bias=True
        )
        self.expand = FusedLinear(dim, dict.fromkeys(("k", "q", "key_gate"), wide), bias=True)
        self.projection = nn.Linear(inner, dim)

    @property
    def features(self) -> int:
        """Features of a head."""
        return self.expansion * self.head_dim

    def mix(self, x: Tensor, layout: Layout, *, cache: Cache | None) -> Tensor:
        """Writes, forgets and reads."""
        if cache is not None and not isinstance(cache, RecurrentCache):
            raise UserError("GatedLinearAttention runs step by step with the cache of init_cache()")
        if cache is not None and layout.valid is not None:
            raise UserError("with a cache, padding is on the right: Layout.lengths, not valid")
        real = layout.token_mask(x.shape[1])
        dtype = torch.promote_types(x.dtype, torch.float32)
        parts = self.project(x).to(dtype).unflatten(2, (5, self.heads, -1)).unbind(2)
        key, query, value, value_gate, key_gate = parts
        wide = self.expand(x).to(dtype).unflatten(2, (3, self.heads, -1)).unbind(2)
        key, query = _outer(wide[0].relu(), key.relu()), _outer(wide[1].relu(), query.relu())
        key_gate = _outer(wide[2].sigmoid(), key_gate.sigmoid())
        value_gate = value_gate.sigmoid()
        if real is not None:
            # A token that is not there writes nothing and forgets nothing.
            key_gate = key_gate * real[..., None, None]
            value_gate = value_gate * real[..., None, None]
        waves = self._waves(x, layout, cache).to(dtype)[..., None]
        written = key * key_gate
        # Per token: the plain sum of the keys, then keys and values for each wave.
        added = [written, (written[..., None, :] * waves).flatten(-2)]
        added.append(((value * value_gate)[..., None, :] * waves).flatten(-2))
        left = [1 - key_gate, (1 - key_gate).repeat(1, 1, 1, self.waves)]
        left.append((1 - value_gate).repeat(1, 1, 1, self.waves))
        state = None if cache is None else cache.state
        memory = associative_scan(
            torch.cat(left, dim=-1), torch.cat(added, dim=-1), state=state, dim=1
        )
        if cache is not None:
            assert isinstance(cache, RecurrentCache)
            cache.state = memory[:, -1]
            cache.lengths = cache.lengths + (x.shape[1] if real is None else real.sum(dim=1))
        sums, keys, values = memory.split(self._sizes, dim=-1)
        shares = (keys.unflatten(-1, (self.waves, -1)) * query[..., None, :]).sum(-1)
        read = (values.unflatten(-1, (self.waves, -1)) * shares[..., None]).sum(-2)
        total = (sums * query).sum(-1, keepdim=True)
        out = read / (2 * self.waves * total + self.eps)
        return self.projection(out.flatten(2).to(x.dtype))

    @property
    def _sizes(self) -> list[int]:
        return [self.features, self.waves * self.features, self.waves * self.head_dim]

    def _waves(self, x: Tensor, layout: Layout, cache: Cache | None) -> Tensor:
        """The cosines at each token, (B or 1, N, 1, waves)."""
        if layout.valid is not None:
            place = layout.valid.cumsum(dim=1) - 1
        else:
            place = torch.arange(x.shape[1], device=x.device)[None]
        if cache is not None:
            place = place + cache.lengths[:, None]
        frequencies = torch.linspace(-math.pi, math.pi, self.waves, device=x.device)
        # The authors count the first token as the second.
        return ((place[..., None] + 2) * frequencies).cos()[:, :, None]

    def init_cache(
        self,
        batch: int,
        max_length: int,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> RecurrentCache:
        """Returns the memory of no tokens; its size does not depend on ``max_length``."""
        weight = self.projection.weight
        dtype = torch.promote_types(dtype or weight.dtype, torch.float32)
        shape = (batch, self.heads, sum(self._sizes))
        return RecurrentCache(torch.zeros(shape, dtype=dtype, device=device or weight.device))


def _outer(first: Tensor, second: Tensor) -> Tensor:
    """The products of all pairs, (..., M * N)."""
    return (first[..., :, None] * second[..., None, :]).flatten(-2)
