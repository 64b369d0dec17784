"""Demonstrations of loading a dishwasher."""

import numpy as np

from headway.core.training import Passed
from headway.rl.data.scripted import Script, ScriptedData, ScriptedOptions
from headway.rl.environments import DISHWASHER, Dishwasher, load_as_shown


class DishwasherData(ScriptedData):
    """Episodes in ``headway/Dishwasher-v0`` with the preferences of training, loaded as they want it.

    Args:
        episodes: How many.
        context_length: Steps of a stretch; an episode has six.
        **scripted: As of every ``ScriptedData``: data_seed, batch_size, number, sampling ...
    """

    def __init__(
        self,
        *,
        episodes: int = 2000,
        context_length: int = 6,
        **scripted: Passed[ScriptedOptions],
    ) -> None:
        super().__init__(episodes=episodes, context_length=context_length, **scripted)

    @property
    def environment(self) -> str:
        """Name of the environment."""
        return DISHWASHER

    def build(self) -> Dishwasher:
        """Returns the kitchen."""
        return Dishwasher()

    def script(self, random: np.random.Generator) -> Script:
        """Returns who does as the demonstration does."""
        return load_as_shown
