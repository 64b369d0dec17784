"""Chains of trajectories: tries at one task, one behind the other."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from headway.core.errors import UserError
from headway.rl.batch import Batch
from headway.rl.data.sampling import Sampling
from headway.rl.data.trajectory import Trajectory
from headway.rl.data.windows import DrawnEpisodes, cut, drawn


class Chain:
    """Says how trajectories of one task become one stretch of data: a chain of hindsight.

    The worst comes first, the best last, and all are told that they shall bring about what the best has: a
    model that reads such chains learns to do better than what it reads. Steps are marked with the try that
    they belong to (``trial``) and with whether they have brought about what was asked for (``completed``).

    Args:
        number: Trajectories of a chain.
        ascending: Whether they stand in the order of their returns; else as they are drawn.
        relabelled: Whether all ask for the highest return of the chain; else each for its own.

    Raises:
        UserError: If ``number`` is below 1.

    Source:
        Liu and Abbeel 2023, https://arxiv.org/abs/2305.16554, algorithm 1.
    """

    def __init__(self, *, number: int = 4, ascending: bool = True, relabelled: bool = True) -> None:
        if number < 1:
            raise UserError(f"number is {number}; a chain has at least 1 trajectory")
        self.number, self.ascending, self.relabelled = number, ascending, relabelled

    def join(self, trajectories: Sequence[Trajectory], starts: Sequence[int], length: int) -> Batch:
        """Returns stretches of trajectories as one, padded on the right to ``number * length`` steps.

        Args:
            trajectories: As many as a chain has, or fewer.
            starts: First step of the stretch of each.
            length: Steps of each stretch; shorter where an episode ends sooner.
        """
        pairs = list(zip(trajectories, starts, strict=True))
        if self.ascending:
            pairs.sort(key=lambda pair: pair[0].total)
        best = max(one.total for one in trajectories)
        windows: list[dict[str, Any]] = []
        for trial, (one, start) in enumerate(pairs):
            window: dict[str, Any] = {**cut(one, start, length)}
            goal = best if self.relabelled else one.total
            window["returns_to_go"] = window["returns_to_go"] + (goal - one.total)
            ended = window["terminated"] | window["truncated"]
            window["completed"] = ended & (one.total >= goal)
            window["trial"] = torch.full_like(window["timesteps"], trial)
            windows.append(window)
        counts = [int(window["lengths"]) for window in windows]
        total = self.number * length

        def joined(name: str) -> Any:
            parts = [window[name] for window in windows]
            if isinstance(parts[0], dict):
                return {
                    key: _joined([part[key] for part in parts], counts, total) for key in parts[0]
                }
            return _joined(parts, counts, total)

        names = [name for name in windows[0] if name not in ("lengths", "mask")]
        steps = sum(counts)
        chain: Any = {name: joined(name) for name in names}
        chain["lengths"], chain["mask"] = torch.tensor(steps), torch.arange(total) < steps
        return chain


def _joined(parts: Sequence[Tensor], counts: Sequence[int], total: int) -> Tensor:
    filled = parts[0].new_zeros(total, *parts[0].shape[1:])
    real = torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
    filled[: len(real)] = real
    return filled


class Tasks:
    """Which trajectories are tries at the same task.

    Args:
        trajectories: The episodes.
    """

    def __init__(self, trajectories: Sequence[Trajectory]) -> None:
        of = np.array([one.task for one in trajectories])
        self.of = np.unique(of, return_inverse=True)[1]
        order = np.argsort(self.of, kind="stable")
        self.members = np.split(order, np.cumsum(np.bincount(self.of))[:-1])


class DrawnChains(DrawnEpisodes):
    """Random chains: a trajectory by its weight, and others of its task by theirs.

    Args:
        trajectories: The episodes.
        sampling: How likely each is drawn.
        chain: How they become one stretch.
        length: Steps of the stretch of each trajectory.
        number: Chains of an epoch.
    """

    def __init__(
        self,
        trajectories: Sequence[Trajectory],
        sampling: Sampling,
        *,
        chain: Chain,
        length: int,
        number: int,
    ) -> None:
        self.chain = chain
        super().__init__(trajectories, sampling, length=length, number=number)

    def replace(self, trajectories: Sequence[Trajectory]) -> None:
        """Draws from other episodes from now on."""
        self.tasks = Tasks(trajectories)
        super().replace(trajectories)

    def __getitem__(self, index: int) -> Batch:
        first = self.draw()
        members = self.tasks.members[self.tasks.of[first]]
        shares = self.weights[torch.from_numpy(members)].cumsum(0)
        others = drawn(shares, self.chain.number - 1)
        chosen = [self.trajectories[k] for k in (first, *members[others.numpy()])]
        starts = [int(torch.randint(max(1, len(one) - self.length + 1), ())) for one in chosen]
        return self.chain.join(chosen, starts, self.length)


class AllChains(Dataset[Batch]):
    """Every trajectory once, in chains of those that follow one another in a task, each from its start."""

    def __init__(self, trajectories: Sequence[Trajectory], *, chain: Chain, length: int) -> None:
        self.trajectories, self.chain, self.length = trajectories, chain, length
        number = chain.number
        self.places = [
            members[first : first + number]
            for members in Tasks(trajectories).members
            for first in range(0, len(members), number)
        ]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Batch:
        chosen = [self.trajectories[k] for k in self.places[index]]
        return self.chain.join(chosen, [0] * len(chosen), self.length)
