"""Doors of a ring, opened at random."""

from collections.abc import Sequence

import numpy as np

from headway.core.errors import UserError
from headway.core.training import Passed
from headway.rl.data.base import DrawingOptions, TrajectoryData
from headway.rl.data.trajectory import Trajectory
from headway.rl.environments import RING, read_spaces
from headway.rl.environments.ring import Ring
from headway.rl.spaces import Spaces


class RingData(TrajectoryData):
    """Episodes of ``headway/Ring-v0`` by somebody who does not know where the prize is.

    The door with the prize is the task of an episode.

    Args:
        episodes: How many.
        data_seed: Of prizes and doors.
        batch_size: Chains, or episodes, of a batch.
        **drawing: As of every ``TrajectoryData``: number, sampling, top_fraction, val, split_seed, chain, and
            of every ``DataModule``.
    """

    def __init__(
        self,
        *,
        episodes: int = 4000,
        data_seed: int = 0,
        batch_size: int = 64,
        **drawing: Passed[DrawingOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, context_length=1, return_scale=1.0, **drawing)
        if episodes < 2:
            raise UserError(f"episodes is {episodes}; at least 2 are needed")
        self.episodes, self.data_seed = episodes, data_seed
        self._env = Ring()

    @property
    def environment(self) -> str:
        """Name of the environment."""
        return RING

    @property
    def given_spaces(self) -> Spaces:
        """Nothing to see, and the doors."""
        return read_spaces(self._env.observation_space, self._env.action_space)

    def load(self) -> Sequence[Trajectory]:
        """Opens doors."""
        random = np.random.default_rng(self.data_seed)
        prizes, doors = random.integers(self._env.doors, size=(2, self.episodes))
        worth = self._env.worth(doors, prizes).astype(np.float32)
        seen = np.zeros((2, 1), np.float32)
        return [
            Trajectory(
                observations=seen,
                actions=doors[k : k + 1],
                rewards=worth[k : k + 1],
                task=int(prize),
            )
            for k, prize in enumerate(prizes)
        ]
