"""Observations as one long row of numbers."""

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from headway.rl.layers.observations.base import ObservationEncoder, Observations
from headway.rl.layers.observations.eyes import Eyes
from headway.rl.layers.observations.keypoints import CameraKeypoints
from headway.rl.layers.observations.vector import Numbers
from headway.rl.spaces import Box, Space


class JoinedObservations(Eyes):
    """Numbers in units of the training data, and keypoints of cameras, one behind the other.

    Args:
        dim: Not read: the row is as long as it is (``width``).
        space: A ``Dict`` of numbers and of pictures of bytes (height, width, 3), in the order of the row.
        eye: Builds what reads pictures.
        separate: Whether each camera has one of its own, or all share one.

    Shape:
        Observations: a mapping of name to (B, T, *shape). Output: (B, T, width).

    Source:
        Chi et al. 2023, https://arxiv.org/abs/2303.04137, section 4.3; as in LeRobot's diffusion policy.
    """

    blind: ClassVar[bool] = True

    def __init__(
        self,
        dim: int,
        space: Space,
        *,
        eye: Callable[[], CameraKeypoints] = CameraKeypoints,
        separate: bool = False,
    ) -> None:
        super().__init__(dim, space, other=Numbers)
        number = len(self.views) if separate else min(1, len(self.views))
        self.eyes = nn.ModuleList(eye() for _ in range(number))

    @property
    def width(self) -> int:
        """Numbers of the row."""
        seen = sum(self._eye(number).channels for number in range(len(self.views)))
        return seen + (0 if self.vectors is None else sum(self.vectors.widths))

    def forward(self, observations: Observations) -> Tensor:
        """Returns the rows."""
        assert isinstance(observations, Mapping)
        found = {} if self.vectors is None else self.vectors.each(observations)
        for number, (name, x) in enumerate(
            zip(self.views, self.pictures(observations), strict=True)
        ):
            found[name] = self._eye(number)(x)
        return torch.cat([found[name] for name in self.names], dim=-1)

    def tokens(self, observations: Observations) -> Tensor:
        """Returns the row as the only token."""
        return self(observations)[:, :, None]

    def _eye(self, number: int) -> CameraKeypoints:
        eye = self.eyes[min(number, len(self.eyes) - 1)]
        assert isinstance(eye, CameraKeypoints)
        return eye


def joined(dim: int, space: Space) -> ObservationEncoder:
    """Builds what makes a row of observations: of numbers alone those, of several parts all of them.

    Args:
        dim: Not read.
        space: The space.
    """
    return Numbers(dim, space) if isinstance(space, Box) else JoinedObservations(dim, space)
