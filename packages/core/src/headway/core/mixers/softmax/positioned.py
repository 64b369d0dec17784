"""Attention that adds positions to its queries and keys, in each layer anew."""

from typing import ClassVar

from torch import Tensor, nn

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.linear import FusedLinear
from headway.core.mixers.base import TokenMixer, check_heads
from headway.core.mixers.softmax.scores import attend, key_padding, split_heads


class PositionedSelfAttention(TokenMixer):
    """Self-attention whose queries and keys read the tokens plus ``layout.embedding``.

    Values read the tokens alone, so what is passed on says nothing about positions. Without an embedding it
    is plain self-attention.

    Args:
        dim: Channels of a token.
        heads: Heads.
        head_dim: Width of a head; ``dim / heads`` if None.
        qkv_bias: Whether queries, keys and values have a learned bias.
        out_bias: Whether the output projection has one.
        dropout: Probability of dropping an attention weight in training.
        out_dropout: Probability of dropping an output channel in training.

    Shape:
        x: (B, N, dim). bias, mask: broadcastable to (B, heads, N, N). Output: (B, N, dim).

    Source:
        Carion et al. 2020 (DETR), https://arxiv.org/abs/2005.12872, appendix A.3.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "valid", "prefix", "embedding"})

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
        self.dropout = dropout
        inner = heads * self.head_dim
        self.qk = FusedLinear(dim, {"q": inner, "k": inner}, bias=qkv_bias)
        self.v = nn.Linear(dim, inner, bias=qkv_bias)
        self.projection = nn.Linear(inner, dim, bias=out_bias)
        self.out_dropout = Dropout(out_dropout)

    def mix(
        self,
        x: Tensor,
        layout: Layout,
        *,
        bias: Tensor | None,
        mask: Tensor | None,
    ) -> Tensor:
        """Attends."""
        query, key = self.qk(placed(x, layout)).chunk(2, dim=-1)
        query, key, value = split_heads(self.head_dim, query, key, self.v(x))
        options = {"bias": bias, **key_padding(layout, mask)}
        out = attend(self, query, key, value, self.dropout, options)
        return self.out_dropout(self.projection(out.transpose(1, 2).flatten(2)))


class PositionedCrossAttention(TokenMixer):
    """Cross-attention in which queries and keys read their tokens plus the embedding of their layout.

    Args:
        dim: Channels of a token.
        heads: Heads.
        context_dim: Channels of a context token; ``dim`` if None.
        head_dim: Width of a head; ``dim / heads`` if None.
        qkv_bias: Whether queries, keys and values have a learned bias.
        out_bias: Whether the output projection has one.
        dropout: Probability of dropping an attention weight in training.
        out_dropout: Probability of dropping an output channel in training.

    Shape:
        x: (B, N, dim). context: (B, M, context_dim). bias, mask: broadcastable to (B, heads, N, M).
        Output: (B, N, dim).

    Source:
        Carion et al. 2020 (DETR), https://arxiv.org/abs/2005.12872, appendix A.3.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "valid", "prefix", "embedding"})

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        context_dim: int | None = None,
        head_dim: int | None = None,
        qkv_bias: bool = True,
        out_bias: bool = True,
        dropout: float = 0.0,
        out_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.head_dim = check_heads(dim, heads, head_dim)
        self.dropout = dropout
        inner = heads * self.head_dim
        self.q = nn.Linear(dim, inner, bias=qkv_bias)
        self.k = nn.Linear(context_dim or dim, inner, bias=qkv_bias)
        self.v = nn.Linear(context_dim or dim, inner, bias=qkv_bias)
        self.projection = nn.Linear(inner, dim, bias=out_bias)
        self.out_dropout = Dropout(out_dropout)

    def mix(
        self,
        x: Tensor,
        layout: Layout,
        *,
        context: Tensor | None,
        context_layout: Layout | None,
        bias: Tensor | None,
        mask: Tensor | None,
    ) -> Tensor:
        """Attends to the context."""
        if context is None:
            raise UserError("PositionedCrossAttention needs context=, the sequence to attend to")
        memory = context_layout if context_layout is not None else Layout()
        if memory.offsets is not None:
            raise UserError("PositionedCrossAttention does not support a packed context")
        query, key, value = split_heads(
            self.head_dim,
            self.q(placed(x, layout)),
            self.k(placed(context, memory)),
            self.v(context),
        )
        options = {"bias": bias, **key_padding(memory, mask)}
        out = attend(self, query, key, value, self.dropout, options)
        return self.out_dropout(self.projection(out.transpose(1, 2).flatten(2)))


def placed(x: Tensor, layout: Layout) -> Tensor:
    """Returns the tokens plus the embedding of their layout, if it has one."""
    return x if layout.embedding is None else x + layout.embedding.to(x.dtype)
