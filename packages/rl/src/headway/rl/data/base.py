"""What all sources of trajectories share: choice, split, statistics, windows."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from headway.core.errors import InputError, UserError
from headway.core.training import DataModule, LoaderOptions, Passed
from headway.core.training.splits import part_size
from headway.rl.data.sampling import Sampling, UniformSteps
from headway.rl.data.trajectory import Trajectory
from headway.rl.data.windows import AllWindows, DrawnWindows, Window
from headway.rl.environments import action_size


class DrawingOptions(LoaderOptions, total=False):
    """What a ``TrajectoryData`` passes on."""

    number: int | None
    sampling: Sampling | None
    top_fraction: float
    val: int | float
    split_seed: int


class TrajectoryOptions(DrawingOptions, total=False):
    """What a ``TrajectoryData`` of any environment passes on."""

    batch_size: int
    context_length: int
    return_scale: float | None


class TrajectoryData(DataModule):
    """Gives the trainer stretches of trajectories; a subclass reads them in ``load``.

    Args:
        batch_size: Stretches of a batch.
        context_length: Steps of a stretch.
        number: Stretches of an epoch; as many as hold all steps once if None.
        sampling: Which trajectories are drawn how often; every step equally if None.
        top_fraction: Only this share of the trajectories, those with the highest returns, is used.
        return_scale: What returns are divided by; the largest absolute return if None.
        val: Share or number of the trajectories that validate.
        split_seed: Of the split.
        **loader: As of every ``DataModule``: workers, seed, shuffle, drop_last, eval_batch_size.
    """

    def __init__(
        self,
        *,
        batch_size: int = 64,
        context_length: int = 20,
        number: int | None = None,
        sampling: Sampling | None = None,
        top_fraction: float = 1.0,
        return_scale: float | None = None,
        val: int | float = 0.05,
        split_seed: int = 0,
        **loader: Passed[LoaderOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, **loader)
        if not 0 < top_fraction <= 1:
            raise UserError(f"top_fraction is {top_fraction}; it must lie between 0 and 1")
        if return_scale is not None and return_scale <= 0:
            raise UserError(f"return_scale is {return_scale}; it must be positive")
        self.context_length, self.number = context_length, number
        self.sampling = sampling if sampling is not None else UniformSteps()
        self.top_fraction, self.return_scale = top_fraction, return_scale
        self.val, self.split_seed = val, split_seed
        self.parts: dict[str, list[Trajectory]] = {}

    @abstractmethod
    def load(self) -> Sequence[Trajectory]:
        """Returns all trajectories."""

    @property
    def environment(self) -> str | None:
        """Name of the environment that the trajectories come from, if it is known."""
        return None

    @property
    def action_space(self) -> spaces.Space[Any] | None:
        """Space of the actions, if the source knows it."""
        return None

    def setup(self, stage: str | None = None) -> None:
        """Loads, checks and splits the trajectories."""
        if self.parts:
            return
        found = list(self.load())
        if len(found) < 2:
            raise UserError(f"there are {len(found)} trajectories; at least 2 are needed")
        _check_alike(found)
        order = np.random.Generator(np.random.PCG64([self.split_seed, len(found)]))
        shuffled = [found[place] for place in order.permutation(len(found)).tolist()]
        count = part_size(self.val, len(found), "val", "trajectories")
        val, train = shuffled[:count], shuffled[count:]
        keep = max(1, round(self.top_fraction * len(train)))
        # The best of the training part alone: what validates stays as it came.
        train = sorted(train, key=lambda one: -one.total)[:keep]
        self.parts = {"train": train, "val": val}
        totals = np.array([one.total for one in train])
        lengths = np.array([len(one) for one in train])
        self.train_set = DrawnWindows(
            train,
            self.sampling.weights(totals, lengths),
            length=self.context_length,
            number=self.number or -(-int(lengths.sum()) // self.context_length),
        )
        self.val_set = AllWindows(val, length=self.context_length) if val else None
        self.predict_set = self.val_set

    @property
    def observation_dim(self) -> int:
        """Numbers of an observation."""
        return self.parts["train"][0].observations.shape[1]

    @property
    def action_kind(self) -> str:
        """``continuous`` or ``discrete``."""
        actions = self.parts["train"][0].actions
        return "discrete" if actions.ndim == 1 else "continuous"

    @property
    def action_dim(self) -> int:
        """Numbers of a continuous action, or the least number of discrete ones that the data need."""
        if self.action_space is not None:
            return action_size(self.action_space)[1]
        trajectories = [*self.parts["train"], *self.parts["val"]]
        if self.action_kind == "continuous":
            return trajectories[0].actions.shape[1]
        return 1 + max(int(one.actions.max()) for one in trajectories)

    @property
    def longest(self) -> int:
        """Steps of the longest trajectory."""
        return max(len(one) for part in self.parts.values() for one in part)

    def statistics(self) -> tuple[Tensor, Tensor, float]:
        """Returns mean and deviation of the training observations, and the scale of the returns."""
        seen = np.concatenate([one.observations for one in self.parts["train"]]).astype(np.float64)
        mean, std = seen.mean(axis=0), seen.std(axis=0)
        # A constant entry says nothing: it is centred and left as it is.
        std[std < 1e-6] = 1.0
        scale = self.return_scale
        if scale is None:
            largest = max(abs(one.returns_to_go).max() for one in self.parts["train"])
            scale = float(largest) or 1.0
        return torch.from_numpy(mean).float(), torch.from_numpy(std).float(), scale

    def action_bounds(self) -> tuple[Tensor, Tensor]:
        """Returns the least and the largest value of each number of a continuous action.

        Those of the space where it has some; otherwise those of the training part and a tenth of their
        distance beyond them, for nothing is learned well at the very edge.
        """
        taken = np.concatenate([one.actions for one in self.parts["train"]]).astype(np.float64)
        low, high = taken.min(axis=0), taken.max(axis=0)
        # A number that never moves has bounds around it.
        margin = np.where(high > low, (high - low) / 10, np.maximum(1.0, abs(high)))
        low, high = low - margin, high + margin
        space = self.action_space
        if isinstance(space, spaces.Box):
            known = np.isfinite(space.low) & np.isfinite(space.high) & (space.low < space.high)
            low, high = np.where(known, space.low, low), np.where(known, space.high, high)
        return torch.from_numpy(low).float(), torch.from_numpy(high).float()

    def preprocessing(self) -> dict[str, Any]:
        """Returns the environment and the returns that the policy has seen."""
        if not self.parts:
            return {}
        totals = [one.total for one in self.parts["train"]]
        return {
            "environment": self.environment,
            "returns": {
                "least": min(totals),
                "median": float(np.median(totals)),
                "most": max(totals),
            },
        }

    @staticmethod
    def collate(items: list[Window]) -> Window:
        """Stacks stretches."""
        return Window(*(torch.stack(parts) for parts in zip(*items, strict=True)))


def _check_alike(trajectories: Sequence[Trajectory]) -> None:
    first = trajectories[0]
    for number, one in enumerate(trajectories):
        for part in ("observations", "actions"):
            expected, found = getattr(first, part), getattr(one, part)
            if expected.shape[1:] != found.shape[1:] or expected.dtype != found.dtype:
                raise InputError(
                    f"episode {number}",
                    f"its {part} are {found.dtype} {list(found.shape[1:])}, those of episode 0 "
                    f"{expected.dtype} {list(expected.shape[1:])}; they are of another environment",
                )
