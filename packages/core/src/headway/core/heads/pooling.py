"""Pooling: from the tokens of an item to one vector."""

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.feedforward import MLP, FeedForward
from headway.core.init import truncated_normal_
from headway.core.layout import Layout
from headway.core.mixers import CrossAttention
from headway.core.module import Module
from headway.core.norms import LayerNorm


class PoolingLayer(Module):
    """Reads one vector from the tokens of each item.

    Args:
        dim: Channels of a token.

    Attributes:
        width: Channels of the vector.

    Shape:
        x: (B, N, dim). Output: (B, width); (items, width) for a packed layout.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.width = dim

    @abstractmethod
    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Pools the tokens."""


class TokenPooling(PoolingLayer):
    """Takes the first token of each item, the class token.

    Source:
        Devlin et al. 2018, https://arxiv.org/abs/1810.04805, section 3.
    """

    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Takes the first tokens."""
        if layout is None or layout.offsets is None:
            return x[:, 0]
        return x[0, layout.offsets[:-1]]


class AveragePooling(PoolingLayer):
    """Averages the tokens behind the prefix; padding does not count, a merged token counts as many.

    Args:
        dim: Channels of a token.
        include_prefix: Whether class and register tokens count, too.
    """

    def __init__(self, dim: int, *, include_prefix: bool = False) -> None:
        super().__init__(dim)
        self.include_prefix = include_prefix

    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Averages."""
        layout = layout if layout is not None else Layout()
        prefix = 0 if self.include_prefix else layout.prefix
        if layout.offsets is not None:
            return self._packed(x[0], layout.offsets, prefix)
        weights = layout.token_mask(x.shape[1])
        if layout.sizes is not None:
            weights = layout.sizes if weights is None else layout.sizes * weights
        if weights is None:
            return x[:, prefix:].mean(dim=1)
        # torch.where keeps what padding holds, even NaN, out of the sum.
        weights = weights[:, prefix:, None].to(x.dtype)
        total = torch.where(weights > 0, x[:, prefix:] * weights, 0.0).sum(dim=1)
        return total / weights.sum(dim=1).clamp_min(1e-6)

    @staticmethod
    def _packed(x: Tensor, offsets: Tensor, prefix: int) -> Tensor:
        positions = torch.arange(x.shape[0], device=x.device)
        item = torch.searchsorted(offsets[1:].contiguous(), positions, right=True)
        counts = (positions - offsets[item.clamp_max(len(offsets) - 2)] >= prefix).to(x.dtype)
        total = x.new_zeros(len(offsets) - 1, x.shape[1]).index_add(0, item, x * counts[:, None])
        number = (offsets.diff() - prefix).clamp_min(1)
        return total / number[:, None].to(x.dtype)


class TokenAveragePooling(PoolingLayer):
    """The class token and the average of the patches, side by side.

    Source:
        Oquab et al. 2023 (DINOv2), https://arxiv.org/abs/2304.07193, section 7.1.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.width = 2 * dim
        self.token, self.average = TokenPooling(dim), AveragePooling(dim)

    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Joins both."""
        return torch.cat([self.token(x, layout), self.average(x, layout)], dim=-1)


class MaxPooling(PoolingLayer):
    """Takes the largest value of each channel over the tokens behind the prefix."""

    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Takes the maximum."""
        layout = layout if layout is not None else Layout()
        if layout.offsets is not None:
            raise UserError("MaxPooling does not take packed items; use AveragePooling")
        mask = layout.token_mask(x.shape[1])
        if mask is not None:
            x = x.masked_fill(~mask[..., None], -torch.inf)
        return x[:, layout.prefix :].amax(dim=1)


class AttentionPooling(PoolingLayer):
    """A learned query attends to the tokens, followed by a feed-forward of its own.

    Args:
        dim: Channels of a token.
        heads: Heads of the attention.
        norm: Builds the norm before the feed-forward, ``(dim)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        include_prefix: Whether the query sees class and register tokens, too.

    Source:
        Zhai et al. 2021, https://arxiv.org/abs/2106.04560, appendix A (MAP head).
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 8,
        norm: Callable[[int], nn.Module] = LayerNorm,
        feedforward: Callable[[int], FeedForward] = MLP,
        include_prefix: bool = True,
    ) -> None:
        super().__init__(dim)
        self.include_prefix = include_prefix
        self.query = nn.Parameter(truncated_normal_(torch.empty(1, 1, dim), std=dim**-0.5))
        self.attention = CrossAttention(dim, heads)
        self.norm = norm(dim)
        self.feedforward = feedforward(dim)

    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Attends and transforms."""
        layout = layout if layout is not None else Layout()
        items, own = x.shape[0], Layout()
        if layout.offsets is not None:
            items = len(layout.offsets) - 1
            own = Layout(offsets=torch.arange(items + 1, device=x.device), max_length=1)
        context, context_layout = x, layout
        if not self.include_prefix and layout.prefix:
            if layout.offsets is not None or layout.padded:
                raise UserError("AttentionPooling(include_prefix=False) takes full, unpacked grids")
            context, context_layout = x[:, layout.prefix :], Layout()
        if own.offsets is None:
            query = self.query.expand(items, -1, -1)
        else:
            query = self.query.expand(1, items, -1)
        pooled = self.attention(query, own, context=context, context_layout=context_layout)
        pooled = pooled[:, 0] if own.offsets is None else pooled[0]
        return pooled + self.feedforward(self.norm(pooled))
