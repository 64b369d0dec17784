"""Random walks in the key-to-door rooms."""

import numpy as np

from headway.core.training import Passed
from headway.rl.data.base import DrawingOptions
from headway.rl.data.scripted import Script, ScriptedData
from headway.rl.environments import KEY_TO_DOOR, KeyToDoor


class KeyToDoorData(ScriptedData):
    """Episodes of a random walk in ``headway/KeyToDoor-v0``; about four of a hundred succeed.

    Args:
        episodes: How many.
        data_seed: Of the walks.
        batch_size: Stretches of a batch.
        context_length: Steps of a stretch; an episode has at most 21.
        **drawing: As of every ``TrajectoryData``: number, sampling, top_fraction, val, split_seed, and of
            every ``DataModule``.
    """

    def __init__(
        self,
        *,
        episodes: int = 10000,
        data_seed: int = 0,
        batch_size: int = 48,
        context_length: int = 21,
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
        return KEY_TO_DOOR

    def build(self) -> KeyToDoor:
        """Returns the rooms."""
        return KeyToDoor()

    def script(self, random: np.random.Generator) -> Script:
        """Returns what goes anywhere."""
        return lambda seen: np.int64(random.integers(4))
