"""Observations that are pictures."""

import itertools
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.rl.layers.observations.base import ObservationEncoder, Observations
from headway.rl.spaces import Box, Space


class ImageObservations(ObservationEncoder):
    """Pictures through three convolutions, each of which halves height and width, and one linear layer.

    Args:
        dim: Channels of a token.
        space: A ``Box`` of bytes with channels last, (height, width, channels), or first.
        width: Channels of the first convolution; twice and four times as many of the others.

    Shape:
        Observations: (B, T, H, W, C) or (B, T, C, H, W) uint8. Output: (B, T, dim).

    Source:
        After Mnih et al. 2015, https://doi.org/10.1038/nature14236 (convolutions with strides), with kernels
        of 3 so that small pictures are read as well.
    """

    reads: ClassVar[tuple[type[Any], ...]] = (Box,)

    def __init__(self, dim: int, space: Space, *, width: int = 16) -> None:
        super().__init__(dim, space)
        assert isinstance(space, Box)
        if len(space.shape) != 3:
            raise UserError(f"a picture has height, width and channels, got {space}")
        # Channels are the axis that is smaller than both others; last if in doubt.
        self.channels_first = space.shape[0] < min(space.shape[1:])
        channels = space.shape[0 if self.channels_first else -1]
        height, high = space.shape[1:] if self.channels_first else space.shape[:2]
        sizes = (channels, width, 2 * width, 4 * width)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(sizes):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
            height, high = -(-height // 2), -(-high // 2)
        self.convolutions = nn.Sequential(*layers)
        self.linear = nn.Linear(sizes[-1] * height * high, dim)
        self.scale = 255.0 if space.dtype == "uint8" else 1.0

    def forward(self, observations: Observations) -> Tensor:
        """Returns the tokens."""
        assert isinstance(observations, Tensor)
        batch, steps = observations.shape[:2]
        x = observations.flatten(0, 1).to(self.linear.weight.dtype) / self.scale
        if not self.channels_first:
            x = x.movedim(-1, 1)
        return self.linear(self.convolutions(x).flatten(1)).unflatten(0, (batch, steps))

    def blank(self, *shape: int) -> Observations:
        """Returns black pictures."""
        assert isinstance(self.space, Box)
        dtype = getattr(torch, self.space.dtype)
        return torch.zeros(*shape, *self.space.shape, dtype=dtype, device=self.device)
