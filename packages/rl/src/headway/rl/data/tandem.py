"""Trays that are carried well and badly."""

import numpy as np

from headway.core.training import Passed
from headway.rl.data.scripted import Script, ScriptedData, ScriptedOptions
from headway.rl.environments import TANDEM, ClumsyCarrier, Tandem


class TandemData(ScriptedData):
    """Episodes in ``headway/Tandem-v0`` of who tips the tray over sooner or later, the faster the sooner.

    Args:
        episodes: How many.
        context_length: Steps of a stretch; an episode has at most 5.
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
        return TANDEM

    def build(self) -> Tandem:
        """Returns tray and ground."""
        return Tandem()

    def script(self, random: np.random.Generator) -> Script:
        """Returns who carries."""
        return ClumsyCarrier(random)
