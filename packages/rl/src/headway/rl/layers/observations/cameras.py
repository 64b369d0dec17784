"""Cameras and numbers: a token for each place of a picture."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.backbones import FrozenBatchNorm, ResNet
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.positions import NormalizedSinusoidalPosition
from headway.rl.layers.observations.base import Moments, ObservationEncoder, Observations
from headway.rl.layers.observations.named import DictObservations
from headway.rl.spaces import Box, Dict, Space

# Of ImageNet, between 0 and 1.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class CameraObservations(ObservationEncoder):
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

    reads: ClassVar[tuple[type[Any], ...]] = (Dict,)
    means: Tensor
    stds: Tensor
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
        assert isinstance(space, Dict)
        cameras = {
            name: part
            for name, part in space.parts.items()
            if isinstance(part, Box) and part.is_image
        }
        wrong = [part for part in cameras.values() if part.shape[-1] != 3]
        if not cameras or wrong or dim % 4:
            raise UserError(
                f"cameras are pictures (height, width, 3), and dim a multiple of 4; got {space} and {dim}"
            )
        self.cameras = tuple(cameras)
        others = {name: part for name, part in space.parts.items() if name not in cameras}
        self.vectors = DictObservations(dim, Dict(parts=others)) if others else None
        widths = [64 * 2**stage for stage in range(len(depths))]
        norm: Any = FrozenBatchNorm if frozen else nn.BatchNorm2d
        self.backbone = ResNet(depths=depths, widths=widths, bottleneck=False, norm=norm)
        self.projection = nn.Conv2d(widths[-1], dim, 1)
        self.register_buffer("means", torch.tensor(MEAN).repeat(len(cameras), 1))
        self.register_buffer("stds", torch.tensor(STD).repeat(len(cameras), 1))
        stride = 4 * 2 ** (len(depths) - 1)
        place = NormalizedSinusoidalPosition(dim)
        grids = [tuple(-(-side // stride) for side in part.shape[:2]) for part in cameras.values()]
        maps = [place(Layout(grid=grid), math.prod(grid))[0] for grid in grids]
        self.register_buffer("positions", torch.cat(maps), persistent=False)

    @property
    def learned_positions(self) -> int:
        """Numbers have no positions of their own."""
        return 0 if self.vectors is None else self.vectors.learned_positions

    def fixed_positions(self) -> Tensor:
        """Returns those of the places of all maps, (N, dim)."""
        return self.positions

    def forward(self, observations: Observations) -> Tensor:
        """Returns the means."""
        return self.tokens(observations).mean(dim=2)

    def tokens(self, observations: Observations) -> Tensor:
        """Returns the tokens of the parts that are no pictures, and those of the maps, (B, T, N, dim)."""
        assert isinstance(observations, Mapping)
        missing = [name for name in self.cameras if name not in observations]
        if missing:
            raise UserError(f"the observation {missing[0]!r} is missing; got {list(observations)}")
        tokens = [self._map(observations[name], n) for n, name in enumerate(self.cameras)]
        if self.vectors is not None:
            tokens.insert(0, self.vectors.tokens(observations))
        return torch.cat(tokens, dim=2)

    def _map(self, pictures: Tensor, number: int) -> Tensor:
        x = pictures.flatten(0, 1).to(self.means.dtype) / 255.0
        x = ((x - self.means[number]) / self.stds[number]).movedim(-1, 1)
        x = self.projection(self.backbone(x)[-1]).flatten(2).movedim(1, 2)
        return x.unflatten(0, pictures.shape[:2])

    def set_moments(self, moments: Moments | Mapping[str, Moments]) -> None:
        """Takes those of the numbers; pictures have those of ImageNet."""
        assert isinstance(moments, Mapping)
        if self.vectors is not None:
            own = {name: one for name, one in moments.items() if name not in self.cameras}
            self.vectors.set_moments(own)

    @property
    def has_moments(self) -> bool:
        """Whether all numbers have them."""
        return self.vectors is None or self.vectors.has_moments

    def blank(self, *shape: int) -> Observations:
        """Returns zeros, and black pictures."""
        assert isinstance(self.space, Dict)
        found: dict[str, Any] = {}
        if self.vectors is not None:
            found.update(self.vectors.blank(*shape))  # pyright: ignore[reportArgumentType, reportCallIssue]
        for name in self.cameras:
            part = self.space.parts[name]
            assert isinstance(part, Box)
            found[name] = torch.zeros(*shape, *part.shape, dtype=torch.uint8, device=self.device)
        return found
