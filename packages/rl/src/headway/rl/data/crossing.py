"""Episodes of two paths that cross."""

import numpy as np

from headway.core.training import Passed
from headway.rl.data.scripted import Script, ScriptedData, ScriptedOptions
from headway.rl.environments import CROSSING, Crossing, CrossingExpert


class CrossingData(ScriptedData):
    """Episodes in ``headway/Crossing-v0`` from both starts, straight on to the corner opposite.

    Those from above are paid, those from below are not. The environment starts below: to be paid there, the
    first half of one path must be joined with the second half of the other ("stitching").

    Args:
        episodes: How many.
        context_length: Steps of a stretch; an episode has about 26.
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
        return CROSSING

    def build(self) -> Crossing:
        """Returns the plane, with both starts."""
        return Crossing(start="both")

    def script(self, random: np.random.Generator) -> Script:
        """Returns who goes straight on."""
        return CrossingExpert(random)
