"""Trajectories that are already arrays."""

from collections.abc import Sequence

from headway.rl.data.base import TrajectoryData
from headway.rl.data.sampling import Sampling
from headway.rl.data.trajectory import Trajectory


class InMemoryTrajectories(TrajectoryData):
    """Trajectories from Python.

    Args:
        trajectories: The episodes; ``headway.rl.data.checked`` makes one of arrays.
        environment: Name of the environment that they come from, if gymnasium knows it.
        batch_size: Stretches of a batch.
        seed: Of the drawing.
        context_length: Steps of a stretch.
        number: Stretches of an epoch; as many as hold all steps once if None.
        sampling: Which trajectories are drawn how often; every step equally if None.
        top_fraction: Only this share of the trajectories, those with the highest returns, is used.
        return_scale: What returns are divided by; the largest absolute return if None.
        val: Share or number of the trajectories that validate.
        split_seed: Of the split.
    """

    def __init__(
        self,
        trajectories: Sequence[Trajectory],
        *,
        environment: str | None = None,
        batch_size: int = 64,
        seed: int = 0,
        context_length: int = 20,
        number: int | None = None,
        sampling: Sampling | None = None,
        top_fraction: float = 1.0,
        return_scale: float | None = None,
        val: int | float = 0.05,
        split_seed: int = 0,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            seed=seed,
            context_length=context_length,
            number=number,
            sampling=sampling,
            top_fraction=top_fraction,
            return_scale=return_scale,
            val=val,
            split_seed=split_seed,
        )
        self.trajectories = trajectories
        self._environment = environment

    @property
    def environment(self) -> str | None:
        """Name of the environment, if it was given."""
        return self._environment

    def load(self) -> Sequence[Trajectory]:
        """Returns what was given."""
        return self.trajectories
