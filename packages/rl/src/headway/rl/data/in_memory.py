"""Trajectories that are already arrays."""

from collections.abc import Sequence

from headway.core.training import Passed
from headway.rl.data.base import TrajectoryData, TrajectoryOptions
from headway.rl.data.trajectory import Trajectory
from headway.rl.spaces import Spaces


class InMemoryTrajectories(TrajectoryData):
    """Trajectories from Python.

    Args:
        trajectories: The episodes; ``headway.rl.data.checked`` makes one of arrays.
        environment: Name of the environment that they come from, if gymnasium knows it.
        spaces: What is seen and done, where the arrays do not show all of it: bounds, choices never taken.
        **drawing: As of every ``TrajectoryData``: batch_size, context_length, number, sampling, top_fraction,
            return_scale, val, split_seed, and of every ``DataModule``.
    """

    def __init__(
        self,
        trajectories: Sequence[Trajectory],
        *,
        environment: str | None = None,
        spaces: Spaces | None = None,
        **drawing: Passed[TrajectoryOptions],
    ) -> None:
        super().__init__(**drawing)
        self.trajectories = trajectories
        self._environment, self._spaces = environment, spaces

    @property
    def environment(self) -> str | None:
        """Name of the environment, if it was given."""
        return self._environment

    @property
    def given_spaces(self) -> Spaces | None:
        """What is seen and done, if it was given."""
        return self._spaces

    def load(self) -> Sequence[Trajectory]:
        """Returns what was given."""
        return self.trajectories
