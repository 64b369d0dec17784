"""Demonstrations of two ways round an obstacle."""

import numpy as np

from headway.core.training import Passed
from headway.rl.data.base import DrawingOptions
from headway.rl.data.scripted import Script, ScriptedData
from headway.rl.environments import TWO_WAY, TwoWay, TwoWayExpert


class TwoWayData(ScriptedData):
    """Episodes in ``headway/TwoWay-v0``: half of them go over the disc, half under it, all reach the goal.

    Args:
        episodes: How many.
        data_seed: Of starts, ways and errors.
        batch_size: Stretches of a batch.
        context_length: Steps of a stretch; an episode has about 25.
        **drawing: As of every ``TrajectoryData``: number, sampling, top_fraction, val, split_seed, and of
            every ``DataModule``.
    """

    def __init__(
        self,
        *,
        episodes: int = 400,
        data_seed: int = 0,
        batch_size: int = 64,
        context_length: int = 8,
        **drawing: Passed[DrawingOptions],
    ) -> None:
        super().__init__(
            episodes=episodes,
            data_seed=data_seed,
            batch_size=batch_size,
            context_length=context_length,
            **drawing,
        )

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
