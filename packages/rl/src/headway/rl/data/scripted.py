"""Episodes that a script plays."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

from headway.core.cli.progress import with_progress
from headway.core.errors import UserError
from headway.core.training import Passed
from headway.rl.data.base import DrawingOptions, TrajectoryData
from headway.rl.data.playing import play_episode
from headway.rl.data.trajectory import Trajectory
from headway.rl.environments import read_spaces
from headway.rl.spaces import Spaces

# What says the action of an observation.
Script = Callable[[Any], Any]


class ScriptedOptions(DrawingOptions, total=False):
    """What a ``ScriptedData`` passes on; ``episodes`` and ``context_length`` have other defaults in each."""

    data_seed: int
    batch_size: int


class ScriptedData(TrajectoryData):
    """Episodes of a script in an environment that headway brings along.

    Args:
        episodes: How many.
        data_seed: Of the environment and of the script.
        batch_size: Stretches of a batch.
        context_length: Steps of a stretch.
        **drawing: As of every ``TrajectoryData``: number, sampling, top_fraction, val, split_seed, and of
            every ``DataModule``.
    """

    def __init__(
        self,
        *,
        episodes: int,
        data_seed: int = 0,
        batch_size: int = 64,
        context_length: int = 20,
        **drawing: Passed[DrawingOptions],
    ) -> None:
        super().__init__(
            batch_size=batch_size, context_length=context_length, return_scale=1.0, **drawing
        )
        if episodes < 2:
            raise UserError(f"episodes is {episodes}; at least 2 are needed")
        self.episodes, self.data_seed = episodes, data_seed

    @abstractmethod
    def build(self) -> gymnasium.Env[Any, Any]:
        """Returns the environment."""

    @abstractmethod
    def script(self, random: np.random.Generator) -> Script:
        """Returns what plays one episode."""

    def labelled(self, episode: Trajectory, script: Script) -> Trajectory:
        """Returns an episode with what the script that has played it says about it: nothing of most."""
        return episode

    @property
    def given_spaces(self) -> Spaces:
        """Those of the environment."""
        env = self.build()
        return read_spaces(env.observation_space, env.action_space)

    def load(self) -> Sequence[Trajectory]:
        """Plays."""
        env = self.build()
        random = np.random.default_rng(self.data_seed)
        found = []
        for _ in with_progress(range(self.episodes), "playing"):
            seed = int(random.integers(2**31))
            script = self.script(random)
            found.append(self.labelled(play_episode(env, script, seed=seed), script))
        return found
