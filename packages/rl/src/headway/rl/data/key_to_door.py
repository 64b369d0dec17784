"""Random walks in the key-to-door rooms."""

from collections.abc import Sequence

import numpy as np

from headway.core.cli.progress import with_progress
from headway.core.errors import UserError
from headway.core.training import Passed
from headway.rl.data.base import DrawingOptions, TrajectoryData
from headway.rl.data.playing import play_episode
from headway.rl.data.trajectory import Trajectory
from headway.rl.environments import KEY_TO_DOOR, KeyToDoor, read_spaces
from headway.rl.spaces import Spaces


class KeyToDoorData(TrajectoryData):
    """Episodes of a random walk in ``headway/KeyToDoor-v0``; about four of a hundred succeed.

    Args:
        episodes: How many.
        data_seed: Of the walks.
        batch_size: Stretches of a batch.
        context_length: Steps of a stretch; an episode has at most 21.
        **drawing: As of every ``TrajectoryData``: number, sampling, top_fraction, val, split_seed, and of
            every ``DataModule``.
    """

    def __init__(
        self,
        *,
        episodes: int = 10000,
        data_seed: int = 0,
        batch_size: int = 48,
        context_length: int = 21,
        **drawing: Passed[DrawingOptions],
    ) -> None:
        super().__init__(
            batch_size=batch_size, context_length=context_length, return_scale=1.0, **drawing
        )
        if episodes < 2:
            raise UserError(f"episodes is {episodes}; at least 2 are needed")
        self.episodes, self.data_seed = episodes, data_seed

    @property
    def environment(self) -> str:
        """Name of the environment."""
        return KEY_TO_DOOR

    @property
    def given_spaces(self) -> Spaces:
        """Numbers to see and the four directions."""
        env = KeyToDoor()
        return read_spaces(env.observation_space, env.action_space)

    def load(self) -> Sequence[Trajectory]:
        """Walks."""
        env = KeyToDoor()
        random = np.random.default_rng(self.data_seed)

        def walk(_: object) -> int:
            return int(random.integers(4))

        return [
            play_episode(env, walk, seed=int(random.integers(2**31)))
            for _ in with_progress(range(self.episodes), "walking")
        ]
