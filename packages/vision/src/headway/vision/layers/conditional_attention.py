"""Attention that knows what a query looks for apart from where."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers.base import TokenMixer, check_heads
from headway.core.mixers.softmax.scores import attend, key_padding, split_heads


class ConditionalSelfAttention(TokenMixer):
    """Self-attention that projects tokens and their embedding by layers of their own, and adds both.

    Args:
        dim: Channels of a token.
        heads: Heads.
        dropout: Probability of dropping an attention weight in training.
        out_dropout: Probability of dropping an output channel in training.

    Shape:
        x: (B, N, dim). The layout's embedding: (B or 1, N, at least dim), of which the first ``dim`` channels
        are read. Output: (B, N, dim).

    Source:
        Meng et al. 2021 (Conditional DETR), https://arxiv.org/abs/2108.06152, and its code.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "valid", "embedding"})

    def __init__(
        self, dim: int, heads: int, *, dropout: float = 0.0, out_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.head_dim = check_heads(dim, heads, None)
        self.dim, self.dropout = dim, dropout
        self.q, self.q_place = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.k, self.k_place = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.projection = nn.Linear(dim, dim)
        self.out_dropout = Dropout(out_dropout)

    def mix(self, x: Tensor, layout: Layout) -> Tensor:
        """Attends."""
        place = embedding_of(self, layout, x)[..., : self.dim]
        query = self.q(x) + self.q_place(place)
        key = self.k(x) + self.k_place(place)
        query, key, value = split_heads(self.head_dim, query, key, self.v(x))
        out = attend(self, query, key, value, self.dropout, key_padding(layout, None))
        return self.out_dropout(self.projection(out.transpose(1, 2).flatten(2)))


class ConditionalCrossAttention(TokenMixer):
    """Cross-attention whose scores are those of contents plus those of places.

    Each head multiplies queries and keys that are a content beside a place, so neither blurs the other. The
    place of a query is what the second half of its layout's embedding says, that of a key its embedding.

    Args:
        dim: Channels of a token.
        heads: Heads.
        placed: Whether contents know their embedding, too, as in the first block, where queries are empty.
        dropout: Probability of dropping an attention weight in training.
        out_dropout: Probability of dropping an output channel in training.

    Shape:
        x: (B, N, dim). The layout's embedding: (B or 1, N, 2 * dim). context and the embedding of its
        layout: (B, M, dim). Output: (B, N, dim).

    Source:
        Meng et al. 2021 (Conditional DETR), https://arxiv.org/abs/2108.06152, section 3.3.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "valid", "embedding"})

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        placed: bool = False,
        dropout: float = 0.0,
        out_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.head_dim = check_heads(dim, heads, None)
        self.dropout = dropout
        self.q, self.q_sine = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.k, self.k_place = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.q_place = nn.Linear(dim, dim) if placed else None
        self.v = nn.Linear(dim, dim)
        self.projection = nn.Linear(dim, dim)
        self.out_dropout = Dropout(out_dropout)

    def mix(
        self,
        x: Tensor,
        layout: Layout,
        *,
        context: Tensor | None,
        context_layout: Layout | None,
    ) -> Tensor:
        """Attends to the context."""
        if context is None or context_layout is None:
            raise UserError(
                "ConditionalCrossAttention needs context= and context_layout=, the tokens to attend to and "
                "their positions"
            )
        place, sine = embedding_of(self, layout, x).chunk(2, dim=-1)
        key_place = self.k_place(embedding_of(self, context_layout, context))
        query, key = self.q(x), self.k(context)
        if self.q_place is not None:
            query, key = query + self.q_place(place), key + key_place
        sizes = (x.shape[0], context.shape[0])
        parts = split_heads(
            self.head_dim,
            query,
            self.q_sine(sine).expand(sizes[0], -1, -1),
            key,
            key_place.expand(sizes[1], -1, -1),
            self.v(context),
        )
        query, key = torch.cat(parts[:2], dim=-1), torch.cat(parts[2:4], dim=-1)
        options = key_padding(context_layout, None)
        out = attend(self, query, key, parts[4], self.dropout, options)
        return self.out_dropout(self.projection(out.transpose(1, 2).flatten(2)))


def embedding_of(mixer: TokenMixer, layout: Layout, x: Tensor) -> Tensor:
    """Returns the embedding of a layout.

    Raises:
        UserError: If it has none.
    """
    if layout.embedding is None:
        raise UserError(f"{type(mixer).__name__} needs embedding= in the Layout of its tokens")
    return layout.embedding.to(x.dtype)
