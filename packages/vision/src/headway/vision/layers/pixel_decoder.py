"""Maps of a backbone, told of each other, and a fine one of which masks are made."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.blocks import PostNormBlock
from headway.core.blocks.block import FeedForwardFactory, MixerFactory
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.mixers import DeformableAttention
from headway.core.module import Module
from headway.core.norms import LayerNorm
from headway.core.positions import NormalizedSinusoidalPosition
from headway.core.stacks import Encoder
from headway.vision.layers.conv_norm import ConvNorm
from headway.vision.layers.map_projections import MapProjections


def group_norm(dim: int) -> nn.GroupNorm:
    """Returns a group norm of 32 groups, or as many as divide the channels."""
    return nn.GroupNorm(math.gcd(32, dim), dim)


class TopDown(Module):
    """Adds a smaller map, enlarged, to a larger one of the backbone.

    Args:
        channels: Of the larger map.
        dim: Of the smaller map, and of what comes out.
        mode: How the smaller map is enlarged, of ``F.interpolate``.

    Shape:
        small: (B, dim, h, w). large: (B, channels, H, W). Output: (B, dim, H, W).

    Source:
        Lin et al. 2017 (FPN), https://arxiv.org/abs/1612.03144.
    """

    def __init__(self, channels: int, dim: int, *, mode: str = "bilinear") -> None:
        super().__init__()
        self.mode = mode
        self.lateral = ConvNorm(channels, dim, norm=group_norm)
        self.out = ConvNorm(dim, dim, kernel=3, norm=group_norm, activation=nn.ReLU)
        for layer in (self.lateral.conv, self.out.conv):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, small: Tensor, large: Tensor) -> Tensor:
        """Adds the maps."""
        aligned = {} if self.mode == "nearest" else {"align_corners": False}
        grown = F.interpolate(small, size=large.shape[2:], mode=self.mode, **aligned)
        return self.out(self.lateral(large) + grown)


class DeformablePixelDecoder(Module):
    """Deformable attention among the smaller maps of a backbone; the larger ones are added on the way up.

    Args:
        channels: Of the maps, from the largest to the smallest map.
        dim: Channels of all maps then.
        mask_dim: Channels of the map of which masks are made.
        heads: Heads of the mixers.
        depth: Blocks.
        levels: How many of the maps, from the smallest on, attend to each other.
        attention: Builds the mixer, ``(dim, heads, levels=)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.

    Raises:
        UserError: If there are no more maps than levels.

    Shape:
        maps: a list of (B, C, h, w). Output: a map (B, mask_dim, H, W) as large as the largest, and a list of
        ``levels`` maps (B, dim, h, w), the smallest first.

    Source:
        Cheng et al. 2022 (Mask2Former), https://arxiv.org/abs/2112.01527, section 3.1 and appendix.
    """

    undecayed: ClassVar[tuple[str, ...]] = ("level_embedding",)

    def __init__(
        self,
        channels: Sequence[int],
        dim: int,
        mask_dim: int,
        *,
        heads: int,
        depth: int,
        levels: int = 3,
        attention: MixerFactory = DeformableAttention,
        feedforward: FeedForwardFactory = partial(MLP, hidden_dim=1024, activation=nn.ReLU),  # noqa: B008
        norm: Callable[[int], nn.Module] = partial(LayerNorm, eps=1e-5),  # noqa: B008
    ) -> None:
        super().__init__()
        larger = len(channels) - levels
        if levels < 2 or larger < 1:
            raise UserError(
                f"a pixel decoder of {levels} levels reads {levels + 1} maps or more, the backbone has "
                f"{len(channels)}; give it more out_indices, or set levels to {max(2, len(channels) - 1)}"
            )
        self.levels = levels
        self.projections = MapProjections(channels[larger:], dim, levels=levels)
        self.position = NormalizedSinusoidalPosition(dim)
        self.level_embedding = nn.Parameter(torch.randn(levels, dim))
        by_level: Any = attention
        self.encoder = Encoder(
            dim,
            depth,
            heads,
            mixer=partial(by_level, levels=levels),
            feedforward=feedforward,
            norm=norm,
            block=PostNormBlock,
            final_norm=False,
        )
        init_transformer_(self.encoder)
        # From the smallest to the largest.
        self.up = nn.ModuleList([TopDown(one, dim) for one in reversed(channels[:larger])])
        self.mask_projection = nn.Conv2d(dim, mask_dim, 1)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Decodes the maps."""
        small = self.projections(maps)[::-1]
        grids = tuple((one.shape[2], one.shape[3]) for one in small)
        places = [
            self.position(Layout(grid=grid), grid[0] * grid[1]).to(level) + level
            for grid, level in zip(grids, self.level_embedding, strict=True)
        ]
        x = torch.cat([one.flatten(2).transpose(1, 2) for one in small], dim=1)
        layout = Layout(levels=grids, embedding=torch.cat(places, dim=1))
        x, _ = self.encoder(x, layout)
        parts = x.split([rows * columns for rows, columns in grids], dim=1)
        found = [
            part.transpose(1, 2).unflatten(2, grid) for part, grid in zip(parts, grids, strict=True)
        ]
        pixels = found[-1]
        for step, large in zip(self.up, reversed(maps[: len(self.up)]), strict=True):
            pixels = step(pixels, large)
        return self.mask_projection(pixels), found


class PyramidPixelDecoder(Module):
    """Adds the maps of a backbone up, from the smallest to the largest, by convolutions alone.

    Args:
        channels: Of the maps, from the largest to the smallest map.
        dim: Channels of all maps then.
        mask_dim: Channels of the map of which masks are made.

    Raises:
        UserError: If there is a single map.

    Shape:
        maps: a list of (B, C, h, w). Output: (B, mask_dim, H, W), as large as the largest.

    Source:
        Cheng et al. 2021 (MaskFormer), https://arxiv.org/abs/2107.06278, section 4.1.
    """

    def __init__(self, channels: Sequence[int], dim: int, mask_dim: int) -> None:
        super().__init__()
        if len(channels) < 2:
            raise UserError(f"a pyramid adds two maps or more, the backbone has {len(channels)}")
        self.first = ConvNorm(channels[-1], dim, kernel=3, norm=group_norm, activation=nn.ReLU)
        self.up = nn.ModuleList([TopDown(one, dim, mode="nearest") for one in channels[-2::-1]])
        self.mask_projection = nn.Conv2d(dim, mask_dim, 3, padding=1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Decodes the maps."""
        pixels = self.first(maps[-1])
        for step, large in zip(self.up, maps[-2::-1], strict=True):
            pixels = step(pixels, large)
        return self.mask_projection(pixels)
