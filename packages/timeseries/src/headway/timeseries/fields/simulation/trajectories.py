"""Simulations as data: films of fields, cut into what is known and what comes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from headway.core.errors import UserError
from headway.core.training import DataModule, LoaderOptions, Passed
from headway.timeseries.fields.simulation.equations import Equation, Trajectories


class FilmWindows(Dataset[dict[str, Tensor]]):
    """Windows of trajectories: ``frames``, the ``future`` and the ``conditions``.

    Args:
        trajectories: Fields over time.
        reads: Frames that are known.
        steps: Frames that follow.
        stride: Frames from one window to the next of the same trajectory; 0 for the first window alone.
    """

    def __init__(
        self, trajectories: Trajectories, *, reads: int, steps: int, stride: int = 1
    ) -> None:
        self.trajectories, self.reads, self.steps = trajectories, reads, steps
        last = trajectories.fields.shape[1] - reads - steps
        self.offsets = range(0, last + 1, stride) if stride else range(1)

    def __len__(self) -> int:
        """The number of windows."""
        return len(self.trajectories.fields) * len(self.offsets)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Returns a window."""
        item, place = divmod(index, len(self.offsets))
        first = self.offsets[place]
        film = self.trajectories.fields[item, first : first + self.reads + self.steps]
        return {
            "frames": film[: self.reads],
            "future": film[self.reads :],
            "conditions": self.trajectories.conditions[item],
        }


class Simulations(DataModule):
    """Solutions of an equation; a batch holds ``frames``, ``future`` and ``conditions``.

    Training takes every window of every trajectory; validation and test start at the beginning of theirs
    and ask for all the frames that follow.

    Args:
        equation: What is simulated.
        grid: Of the fields.
        number: Trajectories for training.
        tests: Trajectories for validation, and as many for the test.
        reads: Frames that a model reads.
        steps: Frames that follow in validation and test.
        train_steps: Frames that follow in training.
        interval: Time from one frame to the next.
        batch_size: Windows of a batch.
        **loader: As of every ``DataModule``: workers, seed, shuffle, drop_last, eval_batch_size.

    Shape:
        frames: (B, reads, C, *grid). future: (B, steps, C, *grid). conditions: (B, K).

    Raises:
        UserError: If a number is below 1, or more frames follow in training than in the test.
    """

    def __init__(
        self,
        *,
        equation: Equation,
        grid: Sequence[int] = (32, 32),
        number: int = 128,
        tests: int = 32,
        reads: int = 1,
        steps: int = 10,
        train_steps: int = 1,
        interval: float = 0.02,
        batch_size: int = 16,
        **loader: Passed[LoaderOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, **loader)
        sizes = {"number": number, "tests": tests, "reads": reads, "train_steps": train_steps}
        for name, value in sizes.items():
            if value < 1:
                raise UserError(f"{name} must be at least 1, got {value}")
        if train_steps > steps:
            raise UserError(f"train_steps {train_steps} must not exceed steps {steps}")
        if interval <= 0:
            raise UserError(f"interval {interval} must be above 0")
        self.equation, self.grid = equation, tuple(grid)
        self.number, self.tests, self.reads = number, tests, reads
        self.steps, self.train_steps, self.interval = steps, train_steps, interval

    def setup(self, stage: str | None = None) -> None:
        """Simulates."""
        if self.train_set is not None:
            return
        times = self.interval * torch.arange(self.reads + self.steps)
        # Draws of their own for each part: a longer training part leaves the others as they are.
        parts = [
            self._simulate(number, times, seed=3 * self.seed + place)
            for place, number in enumerate((self.number, self.tests, self.tests))
        ]
        self.train_set = FilmWindows(parts[0], reads=self.reads, steps=self.train_steps)
        self.val_set, self.test_set = (
            FilmWindows(part, reads=self.reads, steps=self.steps, stride=0) for part in parts[1:]
        )
        self.predict_set = self.test_set

    def films(self) -> Tensor:
        """Returns the trajectories of the training part, (number, T, C, *grid)."""
        assert isinstance(self.train_set, FilmWindows)
        return self.train_set.trajectories.fields

    def preprocessing(self) -> dict[str, Any]:
        """Returns what a user of the model must know."""
        return {"reads": self.reads, "interval": self.interval, "grid": list(self.grid)}

    def _simulate(self, number: int, times: Tensor, *, seed: int) -> Trajectories:
        fields, conditions = self.equation.simulate(number, self.grid, times, seed=seed)
        return Trajectories(fields.float(), conditions.float())
