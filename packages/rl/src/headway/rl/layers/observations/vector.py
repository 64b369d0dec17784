"""Observations that are numbers."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.rl.layers.observations.base import Moments, ObservationEncoder, Observations
from headway.rl.spaces import Box, Space


class Numbers(ObservationEncoder):
    """Numbers in units of the training data, as they are.

    Args:
        dim: Not read.
        space: A ``Box`` of any shape; it is made flat.

    Shape:
        Observations: (B, T, *shape) of any type. Output: (B, T, size).
    """

    reads: ClassVar[tuple[type[Any], ...]] = (Box,)
    mean: Tensor
    std: Tensor

    def __init__(self, dim: int, space: Space) -> None:
        super().__init__(dim, space)
        assert isinstance(space, Box)
        if space.size < 1:
            raise UserError(f"observations have {space.size} numbers; at least 1 is needed")
        self.size = space.size
        self.axes = len(space.shape)
        self.register_buffer("mean", torch.zeros(self.size))
        self.register_buffer("std", torch.ones(self.size))

    def normalise(self, observations: Tensor) -> Tensor:
        """Returns flat observations in units of the training data, (B, T, size)."""
        shape = observations.shape[: observations.ndim - self.axes]
        flat = observations.reshape(*shape, self.size)
        return (flat - self.mean) / self.std

    @property
    def width(self) -> int:
        """As many as there are."""
        return self.size

    def forward(self, observations: Observations) -> Tensor:
        """Returns the numbers."""
        assert isinstance(observations, Tensor)
        return self.normalise(observations)

    def set_moments(self, moments: Moments | Mapping[str, Moments]) -> None:
        """Takes mean and deviation of the training data."""
        assert isinstance(moments, Moments)
        for own, given in ((self.mean, moments.mean), (self.std, moments.std)):
            own.copy_(given.reshape(-1) if given.ndim else given)

    @property
    def has_moments(self) -> bool:
        """Whether mean and deviation were ever set."""
        return not bool((self.mean == 0).all() & (self.std == 1).all())


class VectorObservations(Numbers):
    """Numbers in units of the training data, through one linear layer.

    Args:
        dim: Channels of a token.
        space: A ``Box`` of any shape; it is made flat.

    Shape:
        Observations: (B, T, *shape) of any type. Output: (B, T, dim).
    """

    def __init__(self, dim: int, space: Space) -> None:
        super().__init__(dim, space)
        self.linear = nn.Linear(self.size, dim)

    @property
    def width(self) -> int:
        """Channels of a token."""
        return self.dim

    def forward(self, observations: Observations) -> Tensor:
        """Returns the tokens."""
        assert isinstance(observations, Tensor)
        return self.linear(self.normalise(observations))
