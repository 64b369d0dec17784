"""A pole that is balanced well, badly and at random."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from headway.core.cli.progress import with_progress
from headway.core.errors import UserError
from headway.core.training import Passed
from headway.rl.data.base import TrajectoryData, TrajectoryOptions
from headway.rl.data.playing import play_episode
from headway.rl.data.trajectory import Trajectory
from headway.rl.environments import read_spaces
from headway.rl.spaces import Spaces

ENVIRONMENT = "CartPole-v1"
# Pushes to the side where the pole falls, and slowly back to the middle: cart, its speed, pole, its speed.
GAINS = np.array([0.05, 0.1, 1.0, 0.25])


class CartPoleData(TrajectoryData):
    """Episodes of ``CartPole-v1`` by a controller that errs: returns from about 10 to 500.

    In each episode a share of the actions, drawn between none and all, is taken at random.

    Args:
        episodes: How many.
        data_seed: Of the play.
        **drawing: As of every ``TrajectoryData``: batch_size, context_length, number, sampling, top_fraction,
            return_scale, val, split_seed, next_observations, and of every ``DataModule``.
    """

    def __init__(
        self, *, episodes: int = 300, data_seed: int = 0, **drawing: Passed[TrajectoryOptions]
    ) -> None:
        super().__init__(**drawing)
        if episodes < 2:
            raise UserError(f"episodes is {episodes}; at least 2 are needed")
        self.episodes, self.data_seed = episodes, data_seed
        self._env: gymnasium.Env[Any, Any] = gymnasium.make(ENVIRONMENT)

    @property
    def environment(self) -> str:
        """Name of the environment."""
        return ENVIRONMENT

    @property
    def given_spaces(self) -> Spaces:
        """Four numbers to see, two directions to push."""
        return read_spaces(self._env.observation_space, self._env.action_space)

    def load(self) -> Sequence[Trajectory]:
        """Plays."""
        random = np.random.default_rng(self.data_seed)
        found = []
        for _ in with_progress(range(self.episodes), "balancing"):
            errs = random.random()

            def act(seen: Any, errs: float = errs) -> int:
                at_random = random.random() < errs
                return int(random.integers(2)) if at_random else int(seen @ GAINS > 0)

            found.append(play_episode(self._env, act, seed=int(random.integers(2**31))))
        return found
