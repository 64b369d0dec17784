"""Observations that are maps of cells."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.rl.layers.observations.base import ObservationEncoder, Observations
from headway.rl.layers.observations.choice import ChoiceObservations
from headway.rl.spaces import Box, MultiDiscrete, Space


class GridObservations(ObservationEncoder):
    """A map whose cells hold choices, such as kind, colour and state: embedded, convolved and flattened.

    Args:
        dim: Channels of a token.
        space: A ``Box`` of whole numbers, (height, width, channels).
        choices: How many choices each channel has, from 0.
        width: Channels of a cell.

    Shape:
        Observations: (B, T, H, W, C) of whole numbers. Output: (B, T, dim).

    Source:
        Chevalier-Boisvert et al. 2019, https://arxiv.org/abs/1810.08272 (their code reads cells by such
        tables, too).
    """

    reads: ClassVar[tuple[type[Any], ...]] = (Box,)

    def __init__(
        self, dim: int, space: Space, *, choices: Sequence[int] = (11, 6, 4), width: int = 32
    ) -> None:
        super().__init__(dim, space)
        assert isinstance(space, Box)
        if len(space.shape) != 3 or space.shape[-1] != len(choices):
            raise UserError(
                f"a map has height, width and one channel for each of the choices {list(choices)}, "
                f"got {space}"
            )
        self.choices = tuple(choices)
        cell = MultiDiscrete(n=self.choices, start=(0,) * len(self.choices))
        self.cells = ChoiceObservations(width, cell)
        self.convolutions = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
        )
        self.linear = nn.Linear(width * space.shape[0] * space.shape[1], dim)

    def forward(self, observations: Observations) -> Tensor:
        """Returns the tokens."""
        assert isinstance(observations, Tensor)
        cells = self.cells(observations)
        maps = self.convolutions(cells.flatten(0, 1).movedim(-1, 1))
        return self.linear(maps.flatten(1)).unflatten(0, observations.shape[:2])

    def blank(self, *shape: int) -> Observations:
        """Returns maps of the first choices."""
        assert isinstance(self.space, Box)
        dtype = getattr(torch, self.space.dtype)
        return torch.zeros(*shape, *self.space.shape, dtype=dtype, device=self.device)
