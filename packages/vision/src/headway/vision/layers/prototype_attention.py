"""Queries that read one token each, and the block that they stand in."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.blocks import PreNormBlock
from headway.core.cache import Cache
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers.base import TokenMixer, check_heads
from headway.core.mixers.softmax.positioned import placed
from headway.core.norms import LayerNorm


class PrototypeAttention(TokenMixer):
    """Each query and head reads the one token of a map that is most like it, within its mask.

    What is read is weighted, channel by channel, by how it agrees with the query; there is no softmax, and
    no product of weights and values.

    Args:
        dim: Channels of a token, and of those of the map.
        heads: Heads.

    Shape:
        x: (B, N, dim). context: (B, rows * columns, dim), with a grid in its layout. mask: (B or 1, 1, N, M)
        bool. Output: (B, N, dim).

    Raises:
        UserError: If the context has no grid.

    Source:
        Cavagnero et al. 2024 (PEM), https://arxiv.org/abs/2402.19422, section 3.2.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"embedding"})

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.head_dim = check_heads(dim, heads, None)
        self.map_norm = nn.BatchNorm2d(dim)
        self.local = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.k = nn.Linear(dim, dim)
        self.query_norm = LayerNorm(dim, eps=1e-5)
        self.q = nn.Linear(dim, dim)
        self.agreement = nn.Linear(dim, dim)
        self.scale = nn.Parameter(torch.ones(1, 1, dim))
        self.projection = nn.Linear(dim, dim)

    def mix(
        self,
        x: Tensor,
        layout: Layout,
        *,
        context: Tensor | None,
        context_layout: Layout | None,
        mask: Tensor | None,
    ) -> Tensor:
        """Reads the tokens."""
        grid = context_layout.grid if context_layout is not None else None
        if context is None or context_layout is None or grid is None:
            raise UserError("PrototypeAttention needs a context= with a grid in its layout")
        there = placed(context, context_layout).transpose(1, 2).unflatten(2, grid)
        key = self.k(self.local(self.map_norm(there)).flatten(2).transpose(1, 2))
        query = self.q(self.query_norm(placed(x, layout)))
        key, query = F.normalize(key, dim=-1), F.normalize(query, dim=-1)
        read = self._most_alike(key, query, mask)
        agreement = F.normalize(self.agreement(read * query), dim=1)
        return self.projection(agreement * self.scale + read)

    def _most_alike(self, key: Tensor, query: Tensor, mask: Tensor | None) -> Tensor:
        """Returns of each query and head the token that is most like it, (B, N, dim)."""
        keys, queries = (one.unflatten(2, (-1, self.head_dim)) for one in (key, query))
        alike = torch.einsum("bnhd,bmhd->bhnm", queries, keys)
        if mask is not None:
            alike = alike.masked_fill(~mask, float("-inf"))
        best = alike.argmax(-1)[..., None].expand(-1, -1, -1, self.head_dim)
        return keys.transpose(1, 2).gather(2, best).transpose(1, 2).flatten(2)


class PrototypeBlock(PreNormBlock):
    """Prototypes, then self-attention, then the feed-forward; norms before the latter two.

    Args:
        dim: Channels of a token.
        heads: Heads of the mixers.
        cross: Builds what reads the map, ``(dim, heads)``; it norms by itself.
        **options: As of every ``Block``.

    Shape:
        x: (B, N, dim). context: (B, M, dim). Output: (B, N, dim) and the layout.

    Source:
        Cavagnero et al. 2024 (PEM), https://arxiv.org/abs/2402.19422, section 3.2, and its code.
    """

    def __init__(
        self, dim: int, heads: int, *, cross: Any = PrototypeAttention, **options: Any
    ) -> None:
        super().__init__(dim, heads, **options)
        self.read = cross(dim, heads)

    def forward(
        self,
        x: Tensor,
        layout: Layout | None = None,
        *,
        context: Tensor | None = None,
        context_layout: Layout | None = None,
        bias: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> tuple[Tensor, Layout | None]:
        """Runs the sublayers."""
        there = {"context": context, "context_layout": context_layout}
        x, layout = self.mixer(x + self.read(x, layout, mask=mask, **there), layout, bias=bias)
        return self.feedforward(x, layout)
