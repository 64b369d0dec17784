"""Class attention: the tokens in front read all tokens, and nothing else changes."""

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.dropout import Dropout
from headway.core.layout import Layout
from headway.core.linear import FusedLinear
from headway.core.mixers.base import TokenMixer, check_heads
from headway.core.mixers.softmax.scores import attend, key_padding, split_heads
from headway.core.systems import system


@system(
    id=None,
    name="Class attention",
    paper="https://arxiv.org/abs/2103.17239",
    claim="the class token gathers what the others say at a cost linear in their number",
    test="packages/core/tests/parts/mixers/softmax/test_class_attention.py",
)
class ClassAttention(TokenMixer):
    """The class token attends to all tokens, itself included; what the others get is zero.

    On a residual branch the others therefore pass unchanged; ``ClassAttentionBlock`` keeps its feed-forward
    from them, too. The queries are few, so ``ops.attention`` runs at a cost linear in the tokens.

    Args:
        dim: Channels of a token.
        heads: Heads.
        head_dim: Width of a head; ``dim / heads`` if None.
        qkv_bias: Whether queries, keys and values have a learned bias.
        out_bias: Whether the output projection has one.
        dropout: Probability of dropping an attention weight in training.
        out_dropout: Probability of dropping an output channel in training.

    Shape:
        x: (B, N, dim); the first ``layout.prefix`` tokens read, the first one if the layout names none.
        bias, mask: broadcastable to (B, heads, N, N). Output: (B, N, dim).

    Raises:
        UserError: If the heads do not divide ``dim``.

    Source:
        Touvron et al. 2021, https://arxiv.org/abs/2103.17239, section 4, eq. 5 to 7.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "valid", "prefix"})

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        head_dim: int | None = None,
        qkv_bias: bool = True,
        out_bias: bool = True,
        dropout: float = 0.0,
        out_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.head_dim = check_heads(dim, heads, head_dim)
        self.heads, self.dropout = heads, dropout
        inner = heads * self.head_dim
        self.q = nn.Linear(dim, inner, bias=qkv_bias)
        self.kv = FusedLinear(dim, {"k": inner, "v": inner}, bias=qkv_bias)
        self.projection = nn.Linear(inner, dim, bias=out_bias)
        self.out_dropout = Dropout(out_dropout)

    def mix(self, x: Tensor, layout: Layout, *, bias: Tensor | None, mask: Tensor | None) -> Tensor:
        """Attends."""
        readers = reading_tokens(layout)
        [query] = split_heads(self.head_dim, self.q(x[:, :readers]))
        key, value = split_heads(self.head_dim, *self.kv(x).chunk(2, dim=-1))
        options = {
            **key_padding(layout, _first_rows(mask, readers)),
            "bias": _first_rows(bias, readers),
        }
        out = attend(self, query, key, value, self.dropout, options)
        out = self.out_dropout(self.projection(out.transpose(1, 2).flatten(2)))
        return F.pad(out, (0, 0, 0, x.shape[1] - readers))


def reading_tokens(layout: Layout | None) -> int:
    """Returns how many tokens in front read the others."""
    return max(1, layout.prefix if layout is not None else 0)


def _first_rows(scores: Tensor | None, number: int) -> Tensor | None:
    """Returns the rows of the first queries of a mask or bias that may be the same for all of them."""
    if scores is None or scores.ndim < 2 or scores.shape[-2] == 1:
        return scores
    return scores[..., :number, :]
