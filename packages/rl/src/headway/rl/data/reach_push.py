"""Demonstrations of reaching and pushing."""

import numpy as np

from headway.core.training import Passed
from headway.rl.data.base import DrawingOptions
from headway.rl.data.scripted import Script, ScriptedData
from headway.rl.environments import REACH_PUSH, ReachPush, ReachPushExpert


class ReachPushData(ScriptedData):
    """Episodes in ``headway/ReachPush-v0`` of who goes round the block, waits behind it, and pushes.

    Args:
        episodes: How many.
        data_seed: Of places, sides and errors.
        batch_size: Stretches of a batch.
        context_length: Steps of a stretch; an episode has about 28.
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
        return REACH_PUSH

    def build(self) -> ReachPush:
        """Returns the plane."""
        return ReachPush()

    def script(self, random: np.random.Generator) -> Script:
        """Returns who reaches and pushes."""
        return ReachPushExpert(random)
