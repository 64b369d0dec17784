"""Talking-heads attention: heads exchange their scores before the softmax and their weights behind it."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from headway.core.dropout import Dropout
from headway.core.layout import Layout
from headway.core.linear import FusedLinear
from headway.core.mixers.base import TokenMixer, check_heads
from headway.core.mixers.softmax.scores import both, split_heads
from headway.core.systems import system
from headway.core.taps import tap


@system(
    id=None,
    name="Talking heads",
    paper="https://arxiv.org/abs/2003.02436",
    claim="the weights of a head depend on the queries and keys of all heads",
    test="packages/core/tests/parts/mixers/softmax/test_talking_heads.py",
)
class TalkingHeadsAttention(TokenMixer):
    """Self-attention in which a head mixes the scores, then the weights of all heads.

    Every score meets those of the other heads before the softmax, so the scores are a tensor in memory
    (heads x N x N): no fused kernel computes them in tiles. ``bias`` is added to the mixed scores. The
    weights that are reported when somebody listens are the mixed ones; they need not sum to 1.

    Args:
        dim: Channels of a token.
        heads: Heads.
        head_dim: Width of a head; ``dim / heads`` if None.
        causal: Whether a token sees only itself and what came before.
        qkv_bias: Whether queries, keys and values have a learned bias.
        out_bias: Whether the output projection has one.
        dropout: Probability of dropping a mixed weight in training.
        out_dropout: Probability of dropping an output channel in training.

    Shape:
        x: (B, N, dim). bias, mask: broadcastable to (B, heads, N, N). Output: (B, N, dim).

    Raises:
        UserError: If the heads do not divide ``dim``.

    Source:
        Shazeer et al. 2020, https://arxiv.org/abs/2003.02436, section 4; with biases of the mixtures, as in
        Touvron et al. 2021 (CaiT), https://arxiv.org/abs/2103.17239.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "valid", "prefix", "causal"})

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        head_dim: int | None = None,
        causal: bool = False,
        qkv_bias: bool = True,
        out_bias: bool = True,
        dropout: float = 0.0,
        out_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.head_dim = check_heads(dim, heads, head_dim)
        self.heads, self.causal = heads, causal
        inner = heads * self.head_dim
        self.qkv = FusedLinear(dim, {"q": inner, "k": inner, "v": inner}, bias=qkv_bias)
        self.mix_scores = nn.Linear(heads, heads)
        self.mix_weights = nn.Linear(heads, heads)
        self.projection = nn.Linear(inner, dim, bias=out_bias)
        self.dropout, self.out_dropout = Dropout(dropout), Dropout(out_dropout)

    def mix(self, x: Tensor, layout: Layout, *, bias: Tensor | None, mask: Tensor | None) -> Tensor:
        """Attends."""
        query, key, value = split_heads(self.head_dim, *self.qkv(x).chunk(3, dim=-1))
        for name, tensor in (("queries", query), ("keys", key), ("values", value)):
            tap(self, name, tensor)
        scores = _across_heads(self.mix_scores, query * self.head_dim**-0.5 @ key.mT)
        if bias is not None:
            scores = scores + bias
        seen = self._seen(x, layout, mask)
        if seen is not None:
            # Not -inf: a query that sees nothing has no weights at all.
            scores = scores.masked_fill(~seen, torch.finfo(scores.dtype).min)
        exact = torch.promote_types(scores.dtype, torch.float32)
        weights = _across_heads(self.mix_weights, scores.softmax(-1, dtype=exact).to(value.dtype))
        if seen is not None:
            # The mixture has a bias, which would reach what is hidden.
            weights = weights.masked_fill(~seen, 0.0)
        tap(self, "weights", weights)
        out = self.dropout(weights) @ value
        return self.out_dropout(self.projection(out.transpose(1, 2).flatten(2)))

    def _seen(self, x: Tensor, layout: Layout, mask: Tensor | None) -> Tensor | None:
        """Returns which keys a query sees, broadcastable to (B, heads, N, N); None for all."""
        tokens = x.shape[1]
        real = layout.token_mask(tokens)
        seen = mask if real is None else both(mask, real[:, None, None, :])
        if self.causal:
            seen = both(seen, torch.ones(tokens, tokens, dtype=torch.bool, device=x.device).tril())
        return seen


def _across_heads(mixture: nn.Linear, scores: Tensor) -> Tensor:
    """Applies a linear map to the heads of (B, H, N, N)."""
    return mixture(scores.movedim(1, -1)).movedim(-1, 1)
