"""A block that leads from one stage to the next: its queries are pooled."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.blocks import DropPath, LayerScale, PreNorm
from headway.core.blocks.block import FeedForwardFactory
from headway.core.cache import Cache
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.linear import FusedLinear
from headway.core.mixers.base import check_heads
from headway.core.norms import LayerNorm
from headway.core.ops import attention
from headway.core.sublayer import Sublayer

# Queries of 2 x 2 neighbours become one.
STRIDE = 2


class PooledAttention(nn.Module):
    """Attention whose queries are the largest of 2 x 2 neighbours.

    Args:
        dim: Channels of a token.
        out_dim: Channels of what queries gather.
        heads: Heads.
        window: As of ``QueryPoolingBlock``.

    Shape:
        x: (B, H, W, dim). Output: (B, H / 2 * W / 2, out_dim).
    """

    def __init__(self, dim: int, out_dim: int, heads: int, *, window: int | None) -> None:
        super().__init__()
        self.window, self.heads = window, heads
        self.head_dim = check_heads(out_dim, heads, None)
        self.qkv = FusedLinear(dim, {"q": out_dim, "k": out_dim, "v": out_dim})
        self.projection = nn.Linear(out_dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Attends."""
        rows, columns = x.shape[1:3]
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        query = largest(query)
        if self.window is None:
            out = self._heads(*(part.flatten(1, 2) for part in (query, key, value)))
            return self.projection(out)
        half = self.window // STRIDE
        out = self._heads(
            _windows(query, half), _windows(key, self.window), _windows(value, self.window)
        )
        grid = (rows // self.window, columns // self.window)
        out = out.unflatten(1, (half, half)).unflatten(0, (-1, *grid))
        return self.projection(out.transpose(2, 3).flatten(1, 4))

    def _heads(self, *parts: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2) for part in parts
        )
        return attention(query, key, value).transpose(1, 2).flatten(2)


class PoolingBranch(nn.Module):
    """``pool(x) + f(norm(x))``, where ``f`` is ``PooledAttention`` and ``pool`` makes as few and wide tokens.

    Args:
        dim: Channels of a token.
        out_dim: Channels of a token behind it.
        function: The attention.
        project: As of ``QueryPoolingBlock``.
        norm: Builds the norm, ``(dim)``.
        layer_scale: Where a learned scale of the branch starts; none if None.
        drop_path: Probability of dropping the branch of an item in training.

    Shape:
        x: (B, H, W, dim). Output: (B, H / 2 * W / 2, out_dim).
    """

    def __init__(
        self,
        dim: int,
        out_dim: int,
        function: nn.Module,
        *,
        project: bool,
        norm: Callable[[int], nn.Module],
        layer_scale: float | None,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.norm = norm(dim)
        self.expand = nn.Linear(dim, out_dim) if project else None
        self.function = function
        self.scale = LayerScale(out_dim, layer_scale) if layer_scale is not None else None
        self.drop_path = DropPath(drop_path) if drop_path else None

    def forward(self, x: Tensor) -> Tensor:
        """Pools the tokens and adds the branch."""
        normed = self.norm(x)
        branch = self.function(normed)
        if self.scale is not None:
            branch = self.scale(branch)
        if self.drop_path is not None:
            branch = self.drop_path(branch)
        if self.expand is not None:
            return largest(self.expand(normed)).flatten(1, 2) + branch
        squares = x.unflatten(2, (-1, STRIDE)).unflatten(1, (-1, STRIDE))
        both = torch.cat([squares.amax((2, 4)), squares.mean((2, 4))], dim=-1)
        return both.flatten(1, 2) + branch


class QueryPoolingBlock(Sublayer):
    """Attention whose queries are the largest of 2 x 2 neighbours, and a feed-forward.

    The map becomes half as high and wide, the tokens another width; keys and values are those of all tokens.

    Args:
        dim: Channels of a token of the stage before.
        out_dim: Channels of a token behind it.
        heads: Heads.
        window: Side of the windows of the tokens that attend to each other, in tokens of the stage before;
            all of them if None.
        project: Whether the tokens beside the attention become wider by a projection and are pooled by their
            largest; else largest and mean stand side by side, for twice the width.
        feedforward: Builds the feed-forward, ``(out_dim)``.
        norm: Builds the norms, ``(dim)``.
        layer_scale: Where a learned scale of each branch starts; none if None.
        drop_path: Probability of dropping a branch of an item in training.

    Shape:
        x: (B, H * W, dim) on a grid (H, W) of even sides. Output: (B, H / 2 * W / 2, out_dim) and its layout.

    Raises:
        UserError: If ``out_dim`` is not twice ``dim`` without a projection, or windows do not divide the map.

    Source:
        Ryali et al. 2023 (Hiera), https://arxiv.org/abs/2306.00989, section 3; without a projection: as in
        the code of timm.
    """

    def __init__(
        self,
        dim: int,
        out_dim: int,
        heads: int,
        *,
        window: int | None = None,
        project: bool = True,
        feedforward: FeedForwardFactory = MLP,
        norm: Callable[[int], nn.Module] = LayerNorm,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if not project and out_dim != 2 * dim:
            raise UserError(
                f"largest and mean of {dim} channels are {2 * dim}, not {out_dim}; use project=True"
            )
        if window is not None and (window < STRIDE or window % STRIDE):
            raise UserError(f"window {window} must be even: queries of 2 x 2 neighbours are pooled")
        self.side = window if window is not None else STRIDE
        options: dict[str, Any] = {"norm": norm, "layer_scale": layer_scale, "drop_path": drop_path}
        attention_ = PooledAttention(dim, out_dim, heads, window=window)
        self.mixer = PoolingBranch(dim, out_dim, attention_, project=project, **options)
        self.feedforward = PreNorm(out_dim, feedforward(out_dim), **options)

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
        """Pools queries, attends and runs the feed-forward."""
        if layout is None or layout.grid is None or len(layout.grid) != 2:
            raise UserError("QueryPoolingBlock needs tokens on a grid (H, W)")
        rows, columns = layout.grid
        if rows % self.side or columns % self.side:
            raise UserError(
                f"a map of {rows} x {columns} is no multiple of {self.side} on each side"
            )
        halved = layout.replace(grid=(rows // STRIDE, columns // STRIDE))
        return self.feedforward(self.mixer(x.unflatten(1, (rows, columns))), halved)


def largest(x: Tensor) -> Tensor:
    """Returns the largest of 2 x 2 neighbours, (B, H, W, C) to (B, H / 2, W / 2, C)."""
    picture = F.max_pool2d(x.permute(0, 3, 1, 2), STRIDE)
    return picture.permute(0, 2, 3, 1)


def _windows(x: Tensor, side: int) -> Tensor:
    """(B, H, W, C) as (windows of all items, side * side, C)."""
    cut = x.unflatten(2, (-1, side)).unflatten(1, (-1, side))
    return cut.transpose(2, 3).flatten(0, 2).flatten(1, 2)
