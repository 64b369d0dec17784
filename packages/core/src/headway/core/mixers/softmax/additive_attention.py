"""Additive attention: every token meets one summary of all, instead of every other token."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from headway.core.layout import Layout
from headway.core.linear import FusedLinear
from headway.core.mixers.base import TokenMixer, check_heads
from headway.core.mixers.softmax.scores import split_heads
from headway.core.systems import system


@system(
    id=183,
    name="Fastformer",
    paper="https://arxiv.org/abs/2108.09084",
    claim="tokens meet a global query and a global key alone: N scores a head in the place of N x N",
    test="packages/core/tests/parts/mixers/softmax/test_additive_attention.py",
)
class AdditiveAttention(TokenMixer):
    """Queries are summed up, then keys that met that sum, and each value meets the second sum.

    Queries serve as values too, and are added to what comes out, as in the paper. The order of the tokens
    plays no part; add positions to them.

    Args:
        dim: Channels of a token.
        heads: Heads.
        head_dim: Width of a head; ``dim / heads`` if None.
        bias: Whether the projections of queries and keys learn a bias.
        out_bias: Whether the output projection does.

    Shape:
        x: (B, N, dim). Output: the same.

    Raises:
        UserError: If the heads do not divide ``dim``.

    Source:
        Wu et al. 2021, https://arxiv.org/abs/2108.09084, section 3.1.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "valid", "prefix"})

    def __init__(
        self,
        dim: int,
        heads: int = 8,
        *,
        head_dim: int | None = None,
        bias: bool = True,
        out_bias: bool = True,
    ) -> None:
        super().__init__()
        self.head_dim = check_heads(dim, heads, head_dim)
        inner = heads * self.head_dim
        self.qk = FusedLinear(dim, {"q": inner, "k": inner}, bias=bias)
        self.query_scores = nn.Parameter(torch.empty(heads, self.head_dim))
        self.key_scores = nn.Parameter(torch.empty(heads, self.head_dim))
        self.transform = nn.Linear(self.head_dim, self.head_dim)
        self.projection = nn.Linear(inner, dim, bias=out_bias)
        for scores in (self.query_scores, self.key_scores):
            nn.init.normal_(scores, std=0.02)

    def mix(self, x: Tensor, layout: Layout) -> Tensor:
        """Sums queries up, then keys."""
        query, key = split_heads(self.head_dim, *self.qk(x).chunk(2, dim=-1))
        real = layout.token_mask(x.shape[1])
        global_query = _summary(query, self.query_scores, real)
        global_key = _summary(global_query * key, self.key_scores, real)
        mixed = query + self.transform(global_key * query)
        return self.projection(mixed.transpose(1, 2).flatten(2))


def _summary(tokens: Tensor, direction: Tensor, real: Tensor | None) -> Tensor:
    """Returns the average of tokens (B, H, N, D), weighted by their softmax along a direction (H, D)."""
    scores = (tokens * direction[:, None]).sum(-1) * tokens.shape[-1] ** -0.5
    if real is not None:
        # Not -inf: an item without a token has no weights at all.
        scores = scores.masked_fill(~real[:, None], torch.finfo(scores.dtype).min)
    weights = scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))
    return weights.to(tokens.dtype)[..., None, :] @ tokens
