"""Stretches of trajectories, as a model is trained on them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from headway.rl.data.trajectory import Trajectory


class Window(NamedTuple):
    """Steps of one trajectory, or of a batch with a leading axis; padded on the left.

    Args:
        observations: (K, O).
        actions: (K, A), or (K,) int64.
        returns_to_go: (K,).
        timesteps: (K,) int64.
        mask: True where a step is real, (K,).
    """

    observations: Tensor
    actions: Tensor
    returns_to_go: Tensor
    timesteps: Tensor
    mask: Tensor


def cut(trajectory: Trajectory, start: int, length: int) -> Window:
    """Returns ``length`` steps from ``start`` on, padded on the left where the episode ends sooner."""
    stop = min(start + length, len(trajectory))
    empty = length - (stop - start)

    def padded(values: NDArray) -> Tensor:
        part = values[start:stop]
        filled = np.zeros((length, *part.shape[1:]), part.dtype)
        filled[empty:] = part
        return torch.from_numpy(filled)

    return Window(
        observations=padded(trajectory.observations),
        actions=padded(trajectory.actions),
        returns_to_go=padded(trajectory.returns_to_go),
        timesteps=padded(np.arange(len(trajectory))),
        mask=torch.arange(length) >= empty,
    )


class DrawnWindows(Dataset[Window]):
    """Random stretches: a trajectory by its weight, then one of its full stretches, all equally likely.

    A trajectory that is shorter than a stretch is taken whole. A policy always knows as much of its past
    as the context holds, so stretches that begin late and end early would teach what never happens.

    Args:
        trajectories: The episodes.
        weights: How likely each is drawn.
        length: Steps of a stretch.
        number: Stretches of an epoch.
    """

    def __init__(
        self,
        trajectories: Sequence[Trajectory],
        weights: NDArray[np.float64],
        *,
        length: int,
        number: int,
    ) -> None:
        self.trajectories, self.length, self.number = trajectories, length, number
        self.cumulated = torch.from_numpy(np.cumsum(weights))

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: int) -> Window:
        place = torch.rand((), dtype=torch.float64) * self.cumulated[-1]
        chosen = int(torch.searchsorted(self.cumulated, place))
        trajectory = self.trajectories[min(chosen, len(self.trajectories) - 1)]
        starts = max(1, len(trajectory) - self.length + 1)
        return cut(trajectory, int(torch.randint(starts, ())), self.length)


class AllWindows(Dataset[Window]):
    """Every step of every trajectory once, in stretches one behind the other."""

    def __init__(self, trajectories: Sequence[Trajectory], *, length: int) -> None:
        self.trajectories, self.length = trajectories, length
        self.places = [
            (number, start)
            for number, trajectory in enumerate(trajectories)
            for start in range(0, len(trajectory), length)
        ]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Window:
        number, start = self.places[index]
        return cut(self.trajectories[number], start, self.length)
