"""Demonstrations of rearranging, each step labelled with its skill."""

from dataclasses import replace

import numpy as np

from headway.core.training import Passed
from headway.rl.data.scripted import Script, ScriptedData, ScriptedOptions
from headway.rl.data.trajectory import Trajectory
from headway.rl.environments import REARRANGE, Rearrange, RearrangeExpert


class RearrangeData(ScriptedData):
    """Episodes in ``headway/Rearrange-v0`` of who picks, opens and places; nothing is ever undone in them.

    Each step says which skill it is part of: 0 for picking, 1 for opening, 2 for placing.

    Args:
        episodes: How many.
        context_length: Steps of a stretch; an episode has about 25.
        **scripted: As of every ``ScriptedData``: data_seed, batch_size, number, sampling ...
    """

    def __init__(
        self,
        *,
        episodes: int = 1000,
        context_length: int = 5,
        **scripted: Passed[ScriptedOptions],
    ) -> None:
        super().__init__(episodes=episodes, context_length=context_length, **scripted)

    @property
    def environment(self) -> str:
        """Name of the environment."""
        return REARRANGE

    def build(self) -> Rearrange:
        """Returns the plane, with nothing that is undone."""
        return Rearrange()

    def script(self, random: np.random.Generator) -> Script:
        """Returns who picks, opens and places."""
        return RearrangeExpert(random)

    def labelled(self, episode: Trajectory, script: Script) -> Trajectory:
        """Returns an episode with the skills of its steps."""
        assert isinstance(script, RearrangeExpert)
        return replace(episode, skills=np.array(script.skills, np.int64))
