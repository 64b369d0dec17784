"""Cameras and numbers: a token for each place of a picture."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.backbones import FrozenBatchNorm, ResNet
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.positions import NormalizedSinusoidalPosition
from headway.rl.layers.observations.base import Observations
from headway.rl.layers.observations.eyes import Eyes
from headway.rl.spaces import Space


class CameraObservations(Eyes):
    """One residual network for all cameras, with a token for each place of its last map.

    Parts that are no pictures have one token each, and come first. Maps have fixed positions, of sines and
    cosines along both axes.

    Args:
        dim: Channels of a token, a multiple of 4.
        space: A ``Dict`` of pictures of bytes (height, width, 3) and of whatever else ``encoder_for`` reads.
        depths: Blocks of each stage of the network; (2, 2, 2, 2) is ResNet-18.
        frozen: Whether its batch norms are fixed, as published weights have them.

    Shape:
        Observations: a mapping of name to (B, T, *shape). Output: (B, T, dim), the mean of the tokens.

    Source:
        Zhao et al. 2023, https://arxiv.org/abs/2304.13705, section 4.2; positions as in Carion et al. 2020,
        https://arxiv.org/abs/2005.12872.
    """

    positions: Tensor

    def __init__(
        self,
        dim: int,
        space: Space,
        *,
        depths: Sequence[int] = (2, 2, 2, 2),
        frozen: bool = True,
    ) -> None:
        super().__init__(dim, space)
        if dim % 4:
            raise UserError(f"dim is {dim}; positions on maps need a multiple of 4")
        widths = [64 * 2**stage for stage in range(len(depths))]
        norm: Any = FrozenBatchNorm if frozen else nn.BatchNorm2d
        self.backbone = ResNet(depths=depths, widths=widths, bottleneck=False, norm=norm)
        self.projection = nn.Conv2d(widths[-1], dim, 1)
        stride = 4 * 2 ** (len(depths) - 1)
        place = NormalizedSinusoidalPosition(dim)
        grids = [
            tuple(-(-side // stride) for side in part.shape[:2]) for part in self.views.values()
        ]
        maps = [place(Layout(grid=grid), math.prod(grid))[0] for grid in grids]
        self.register_buffer("positions", torch.cat(maps), persistent=False)

    @property
    def learned_positions(self) -> int:
        """Numbers have no positions of their own."""
        return 0 if self.vectors is None else self.vectors.learned_positions

    def fixed_positions(self) -> Tensor:
        """Returns those of the places of all maps, (N, dim)."""
        return self.positions

    def tokens(self, observations: Observations) -> Tensor:
        """Returns the tokens of the parts that are no pictures, and those of the maps, (B, T, N, dim)."""
        tokens = [self._map(x) for x in self.pictures(observations)]
        if self.vectors is not None:
            tokens.insert(0, self.vectors.tokens(observations))
        return torch.cat(tokens, dim=2)

    def _map(self, pictures: Tensor) -> Tensor:
        maps = self.projection(self.backbone(pictures.flatten(0, 1))[-1])
        return maps.flatten(2).movedim(1, 2).unflatten(0, pictures.shape[:2])
