"""Demonstrations of reaching and pushing."""

import numpy as np

from headway.core.training import Passed
from headway.rl.data.scripted import Script, ScriptedData, ScriptedOptions
from headway.rl.environments import REACH_PUSH, ReachPush, ReachPushExpert


class ReachPushData(ScriptedData):
    """Episodes in ``headway/ReachPush-v0`` of who goes round the block, waits behind it, and pushes.

    Args:
        episodes: How many.
        context_length: Steps of a stretch; an episode has about 28.
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
        return REACH_PUSH

    def build(self) -> ReachPush:
        """Returns the plane."""
        return ReachPush()

    def script(self, random: np.random.Generator) -> Script:
        """Returns who reaches and pushes."""
        return ReachPushExpert(random)
