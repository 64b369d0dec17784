"""Attention to fewer keys and values, which a convolution makes of the tokens."""

import math
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.linear import FusedLinear
from headway.core.mixers.base import TokenMixer, check_heads
from headway.core.mixers.softmax.scores import split_heads
from headway.core.module import Module
from headway.core.ops import attention


class Condensation(Module):
    """A gated convolution that leaves one of ``stride`` tokens, and one more.

    Args:
        dim: Channels of a token.
        stride: Tokens between two that are left.
        window: Tokens that one that is left hears.

    Shape:
        x: (B, N, dim). Output: (B, (N + 2 * (window // 2) - window) // stride + 1, dim).
    """

    def __init__(self, dim: int, stride: int, window: int) -> None:
        super().__init__()
        self.stride, self.window = stride, window
        self.convolution = nn.Conv1d(dim, 2 * dim, window, stride=stride, padding=window // 2)
        nn.init.xavier_uniform_(self.convolution.weight, gain=math.sqrt(0.5))

    def left(self, tokens: Tensor) -> Tensor:
        """Returns how many of so many tokens are left."""
        return (tokens + 2 * (self.window // 2) - self.window) // self.stride + 1

    def forward(self, x: Tensor) -> Tensor:
        """Convolves."""
        return F.glu(self.convolution(x.transpose(1, 2)), dim=1).transpose(1, 2)


class ConvAttention(TokenMixer):
    """Self-attention whose keys and values are fewer: a convolution with a stride makes them of the tokens.

    Scores are ``stride`` times fewer, so that sequences may be as long as they come. An item has as many keys
    as it has alone.

    Args:
        dim: Channels of a token.
        heads: Heads.
        stride: Tokens for one key.
        window: Tokens that a key hears, at least ``stride``.
        head_dim: Width of a head; ``dim / heads`` if None.
        qkv_bias: Whether queries, keys and values have a learned bias.
        out_bias: Whether the output projection has one.
        dropout: Probability of dropping an attention weight in training.
        out_dropout: Probability of dropping an output channel in training.

    Shape:
        x: (B, N, dim). Output: (B, N, dim).

    Raises:
        UserError: If the heads do not divide ``dim``, or a token would be heard by no key.

    Source:
        Papi et al. 2021, https://arxiv.org/abs/2109.04574, section 2.1. Different from their code: a
        padded item has no key that hears padding alone.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths"})

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        stride: int = 4,
        window: int = 8,
        head_dim: int | None = None,
        qkv_bias: bool = True,
        out_bias: bool = True,
        dropout: float = 0.0,
        out_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not 1 <= stride <= window:
            raise UserError(
                f"stride {stride} must be from 1 to window {window}, so that every token is heard by a key"
            )
        self.head_dim, self.dropout = check_heads(dim, heads, head_dim), dropout
        inner = heads * self.head_dim
        self.condense = Condensation(dim, stride, window)
        self.query = nn.Linear(dim, inner, bias=qkv_bias)
        self.kv = FusedLinear(dim, {"k": inner, "v": inner}, bias=qkv_bias)
        self.projection = nn.Linear(inner, dim, bias=out_bias)
        self.out_dropout = Dropout(out_dropout)

    def mix(self, x: Tensor, layout: Layout) -> Tensor:
        """Attends."""
        keys = self.condense(x)
        lengths = None if layout.lengths is None else self.condense.left(layout.lengths)
        query, key, value = split_heads(
            self.head_dim, self.query(x), *self.kv(keys).chunk(2, dim=-1)
        )
        dropout = self.dropout if self.training else 0.0
        out = attention(query, key, value, lengths=lengths, dropout=dropout)
        return self.out_dropout(self.projection(out.transpose(1, 2).flatten(2)))
