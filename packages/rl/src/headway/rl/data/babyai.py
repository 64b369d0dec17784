"""Demonstrations of BabyAI's bot."""

from typing import Any

import numpy as np

from headway.core.training import Passed
from headway.rl.data.scripted import Script, ScriptedData, ScriptedOptions
from headway.rl.environments.babyai import BabyAI, BabyAIBot


class BabyAIData(ScriptedData):
    """Episodes of BabyAI's bot in one level. It needs ``minigrid``.

    Args:
        level: ``GoToRedBallGrey`` or ``GoToLocal``, whose environments are ``headway/<level>-v0``.
        episodes: How many.
        context_length: Steps of a stretch; an episode has about six.
        **scripted: As of every ``ScriptedData``: data_seed, batch_size, number, sampling ...
    """

    def __init__(
        self,
        *,
        level: str = "GoToRedBallGrey",
        episodes: int = 4000,
        context_length: int = 8,
        **scripted: Passed[ScriptedOptions],
    ) -> None:
        super().__init__(episodes=episodes, context_length=context_length, **scripted)
        self.level = level
        self.room: BabyAI | None = None

    @property
    def environment(self) -> str:
        """Name of the environment."""
        return f"headway/{self.level}-v0"

    def build(self) -> BabyAI:
        """Returns the room."""
        self.room = BabyAI(level=self.level)
        return self.room

    def script(self, random: np.random.Generator) -> Script:
        """Returns the bot, which looks at the room when the episode has begun."""
        room, bot = self.room, None

        def act(observation: Any) -> int:
            nonlocal bot
            if bot is None:
                assert room is not None
                bot = BabyAIBot(room)
            return bot(observation)

        return act
