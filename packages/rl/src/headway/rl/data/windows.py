"""Stretches of trajectories, as a model is trained on them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from headway.rl.batch import Batch
from headway.rl.data.sampling import Sampling
from headway.rl.data.trajectory import Column, Trajectory
from headway.rl.layers.observations import each


def cut(
    trajectory: Trajectory, start: int, length: int, *, next_observations: bool = False
) -> Batch:
    """Returns ``length`` steps from ``start`` on, padded on the right where the episode ends sooner.

    Args:
        trajectory: The episode.
        start: First step.
        length: How many.
        next_observations: Whether what was seen after each action is added; where an episode does not hold
            what was seen at its end, the last observation stands in.
    """
    steps = len(trajectory)
    stop = min(start + length, steps)

    def padded(values: Column) -> Tensor:
        return _filled(values[start:stop], length)

    def following(values: Column) -> Tensor:
        part = values[start + 1 : stop + 1]
        if len(part) < stop - start:
            part = np.concatenate([part, values[stop - 1 : stop]])
        return _filled(part, length)

    times = np.arange(start, stop)
    last = times == steps - 1
    window: Batch = {
        "observations": each(padded, trajectory.observations),
        "actions": padded(trajectory.actions),
        "rewards": padded(trajectory.rewards),
        "returns_to_go": padded(trajectory.returns_to_go),
        "timesteps": _filled(times, length),
        "terminated": _filled(last & trajectory.terminated, length),
        "truncated": _filled(last & (not trajectory.terminated), length),
        "lengths": torch.tensor(stop - start),
        "mask": torch.arange(length) < stop - start,
    }
    if trajectory.expert_actions is not None:
        window["expert_actions"] = padded(trajectory.expert_actions)
    if trajectory.skills is not None:
        window["skills"] = padded(trajectory.skills)
    if trajectory.carried is not None:
        window["carried"] = torch.from_numpy(trajectory.carried[start])
        before = trajectory.actions[start - 1 : start] if start else trajectory.actions[:0]
        window["action_before"] = _filled(before, 1)[0]
    if next_observations:
        window["next_observations"] = each(following, trajectory.observations)
    return window


def _filled(part: NDArray[Any], length: int) -> Tensor:
    # Models compute in single precision; bytes and choices stay what they are.
    dtype = np.float32 if part.dtype.kind == "f" else part.dtype
    filled = np.zeros((length, *part.shape[1:]), dtype)
    filled[: len(part)] = part
    return torch.from_numpy(filled)


class DrawnEpisodes(Dataset[Batch]):
    """What random stretches share: how likely each trajectory is drawn, in each epoch.

    Args:
        trajectories: The episodes.
        sampling: How likely each is drawn.
        length: Steps of a stretch.
        number: Stretches of an epoch.
    """

    def __init__(
        self, trajectories: Sequence[Trajectory], sampling: Sampling, *, length: int, number: int
    ) -> None:
        self.length, self.number = length, number
        self.sampling, self.epoch = sampling, 0
        self.replace(trajectories)

    def replace(self, trajectories: Sequence[Trajectory]) -> None:
        """Draws from other episodes from now on."""
        self.trajectories = trajectories
        self.totals = np.array([one.total for one in trajectories])
        self.lengths = np.array([len(one) for one in trajectories])
        self.weigh()

    def set_epoch(self, epoch: int) -> None:
        """Draws by the weights of an epoch of the training."""
        if epoch != self.epoch:
            self.epoch = epoch
            self.weigh()

    def weigh(self) -> None:
        """Asks how likely each episode is drawn now."""
        weights = self.sampling.weights(self.totals, self.lengths, epoch=self.epoch)
        self.weights = torch.from_numpy(np.asarray(weights, np.float64))
        self.cumulated = self.weights.cumsum(0)

    def draw(self) -> int:
        """Returns the number of a trajectory, drawn by its weight."""
        return int(drawn(self.cumulated, 1))

    def __len__(self) -> int:
        return self.number


def drawn(cumulated: Tensor, number: int) -> Tensor:
    """Returns places (number,), drawn by weights whose sums up to each of them are given.

    Shape:
        cumulated: (N,) float64.
    """
    places = torch.rand(number, dtype=torch.float64) * cumulated[-1]
    return torch.searchsorted(cumulated, places).clamp_max(len(cumulated) - 1)


class DrawnWindows(DrawnEpisodes):
    """Random stretches: a trajectory by its weight, then one of its full stretches, all equally likely.

    A trajectory that is shorter than a stretch is taken whole. A policy always knows as much of its past
    as the context holds, so stretches that begin late and end early would teach what never happens; the first
    and last steps of an episode are therefore drawn less often than those in its middle; with ``any_start``
    every step begins a stretch equally often.

    Args:
        trajectories: The episodes.
        sampling: How likely each is drawn.
        length: Steps of a stretch.
        number: Stretches of an epoch.
        next_observations: Whether what was seen after each action is added.
        any_start: Whether a stretch may begin at any step, and is padded where its episode ends.
    """

    def __init__(
        self,
        trajectories: Sequence[Trajectory],
        sampling: Sampling,
        *,
        length: int,
        number: int,
        next_observations: bool = False,
        any_start: bool = False,
    ) -> None:
        super().__init__(trajectories, sampling, length=length, number=number)
        self.next_observations, self.any_start = next_observations, any_start

    def __getitem__(self, index: int) -> Batch:
        trajectory = self.trajectories[self.draw()]
        starts = len(trajectory)
        if not self.any_start:
            starts = max(1, starts - self.length + 1)
        start = int(torch.randint(starts, ()))
        return cut(trajectory, start, self.length, next_observations=self.next_observations)


class AllWindows(Dataset[Batch]):
    """Every step of every trajectory once, in stretches one behind the other."""

    def __init__(
        self, trajectories: Sequence[Trajectory], *, length: int, next_observations: bool = False
    ) -> None:
        self.trajectories, self.length = trajectories, length
        self.next_observations = next_observations
        self.places = [
            (number, start)
            for number, trajectory in enumerate(trajectories)
            for start in range(0, len(trajectory), length)
        ]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Batch:
        number, start = self.places[index]
        trajectory = self.trajectories[number]
        return cut(trajectory, start, self.length, next_observations=self.next_observations)
