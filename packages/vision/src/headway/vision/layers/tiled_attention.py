"""Attention within the tiles of a map, for plain vision transformers that read large pictures."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.positions import LearnedPosition
from headway.vision.layers.image_tokens import ImageTokens


class TiledAttention(SelfAttention):
    """Self-attention within each of ``tiles`` times ``tiles`` parts of the map, whatever its size.

    Tokens in front of the patches are one for each tile, which sees its own alone; or there are none.

    Args:
        dim: Channels of a token.
        heads: Heads.
        tiles: Parts of each side of the map.
        qkv_bias: Whether queries, keys and values have a learned bias.
        key_bias: Whether keys have one, where the others do.
        dropout: Probability of dropping an attention weight in training.
        out_dropout: Probability of dropping an output channel in training.

    Shape:
        x: (B, prefix + H * W, dim). Output: the same.

    Raises:
        UserError: If a side of the map is no multiple of ``tiles``.

    Source:
        Chen et al. 2024 (LW-DETR), https://arxiv.org/abs/2406.03459, section 3.1, after Li et al. 2022
        (ViTDet), https://arxiv.org/abs/2203.16527, whose windows are of one size instead.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"prefix"})

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        tiles: int = 4,
        qkv_bias: bool = True,
        key_bias: bool = True,
        dropout: float = 0.0,
        out_dropout: float = 0.0,
    ) -> None:
        super().__init__(
            dim,
            heads,
            qkv_bias=qkv_bias,
            key_bias=key_bias,
            dropout=dropout,
            out_dropout=out_dropout,
        )
        if tiles < 1:
            raise UserError(f"tiles must be at least 1, got {tiles}")
        self.tiles = tiles

    def mix(self, x: Tensor, layout: Layout) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Attends within tiles."""
        side, front, grid = self.tiles, layout.prefix, layout.grid
        if grid is None or len(grid) != 2:
            raise UserError("TiledAttention needs tokens on a grid of rows and columns")
        if grid[0] % side or grid[1] % side:
            raise UserError(
                f"a map of {grid[0]}x{grid[1]} tokens has no {side}x{side} equal tiles; give pictures whose "
                f"sides are multiples of {side} patches"
            )
        if front not in (0, side * side):
            raise UserError(
                f"{front} tokens in front of the patches are not one for each of {side * side} tiles"
            )
        parts = x[:, front:].unflatten(1, (side, grid[0] // side, side, grid[1] // side))
        parts = parts.transpose(2, 3).flatten(3, 4).flatten(0, 2)
        if front:
            parts = torch.cat([x[:, :front].flatten(0, 1)[:, None], parts], dim=1)
        out = super().mix(parts, Layout(), bias=None, mask=None, cache=None)
        first, out = out.tensor_split([1 if front else 0], dim=1)
        out = out.unflatten(1, (grid[0] // side, grid[1] // side)).unflatten(0, (-1, side, side))
        out = out.transpose(2, 3).flatten(1, 4)
        return torch.cat([first[:, 0].unflatten(0, (-1, front)), out], dim=1) if front else out


class TiledTokens(ImageTokens):
    """``ImageTokens`` with a class token for each tile, all alike at first.

    Args:
        dim: Channels of a token.
        grid: (H, W) of the patches.
        tiles: Parts of each side of the map.
        position: Builds the position embedding, ``(dim, grid, prefix)``.

    Shape:
        x: (B, H * W, dim). Output: (B, tiles * tiles + H * W, dim) and its layout.

    Source:
        Robinson et al. 2025 (RF-DETR), https://arxiv.org/abs/2511.09554.
    """

    def __init__(
        self,
        dim: int,
        grid: Sequence[int],
        *,
        tiles: int = 4,
        position: Callable[[int, Sequence[int], int], nn.Module] = LearnedPosition,
    ) -> None:
        super().__init__(dim, grid, position=position)
        self.copies = tiles * tiles

    def forward(self, x: Tensor, layout: Layout) -> tuple[Tensor, Layout]:
        """Assembles the tokens of a batch of pictures of one size."""
        x, layout = super().forward(x, layout)
        x = torch.cat([x[:, :1].expand(-1, self.copies, -1), x[:, 1:]], dim=1)
        return x, layout.replace(prefix=self.copies)


class PastClassToken(LearnedPosition):
    """Positions whose table keeps a row for a class token that the model no longer has.

    Args:
        dim: Channels.
        grid: (H, W) of the patches.
        prefix: Tokens in front of the patches: none.

    Source:
        Chen et al. 2024 (LW-DETR), https://arxiv.org/abs/2406.03459, whose backbones are pretrained with one.
    """

    def __init__(self, dim: int, grid: Sequence[int], prefix: int = 0) -> None:
        super().__init__(dim, grid, 1, antialias=False)
