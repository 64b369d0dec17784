"""Demonstrations of a running cheetah."""

from typing import Any

import gymnasium
import numpy as np

from headway.core.errors import UserError
from headway.core.training import Passed
from headway.rl.data.scripted import Script, ScriptedData, ScriptedOptions
from headway.rl.environments import HALF_CHEETAH, HalfCheetahGait


class HalfCheetahData(ScriptedData):
    """Episodes in ``HalfCheetah-v5`` (needs mujoco) of a gait in which each joint minds its neighbours alone.

    Args:
        episodes: How many.
        steps: Of each; the environment itself goes on to 1,000.
        context_length: Steps of a stretch.
        **scripted: As of every ``ScriptedData``: data_seed, batch_size, number, sampling ...

    Raises:
        UserError: If mujoco is not installed.
    """

    def __init__(
        self,
        *,
        episodes: int = 12,
        steps: int = 200,
        context_length: int = 8,
        **scripted: Passed[ScriptedOptions],
    ) -> None:
        super().__init__(episodes=episodes, context_length=context_length, **scripted)
        if not 1 <= steps <= 1000:
            raise UserError(f"steps is {steps}; an episode has 1 to 1000")
        self.steps = steps

    @property
    def environment(self) -> str:
        """Name of the environment."""
        return HALF_CHEETAH

    def build(self) -> gymnasium.Env[Any, Any]:
        """Returns the cheetah."""
        try:
            return gymnasium.make(HALF_CHEETAH, max_episode_steps=self.steps)
        except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
            raise UserError(f"{HALF_CHEETAH} needs mujoco (pip install mujoco): {error}") from None

    def script(self, random: np.random.Generator) -> Script:
        """Returns who runs."""
        return HalfCheetahGait(random)
