"""Demonstrations of two ways round an obstacle."""

import numpy as np

from headway.core.training import Passed
from headway.rl.data.scripted import Script, ScriptedData, ScriptedOptions
from headway.rl.environments import TWO_WAY, TwoWay, TwoWayExpert


class TwoWayData(ScriptedData):
    """Episodes in ``headway/TwoWay-v0``: half of them go over the disc, half under it, all reach the goal.

    Args:
        episodes: How many.
        context_length: Steps of a stretch; an episode has about 25.
        **scripted: As of every ``ScriptedData``: data_seed, batch_size, number, sampling ...
    """

    def __init__(
        self,
        *,
        episodes: int = 400,
        context_length: int = 8,
        **scripted: Passed[ScriptedOptions],
    ) -> None:
        super().__init__(episodes=episodes, context_length=context_length, **scripted)

    @property
    def environment(self) -> str:
        """Name of the environment."""
        return TWO_WAY

    def build(self) -> TwoWay:
        """Returns the plane."""
        return TwoWay()

    def script(self, random: np.random.Generator) -> Script:
        """Returns who knows both ways."""
        return TwoWayExpert(random)
