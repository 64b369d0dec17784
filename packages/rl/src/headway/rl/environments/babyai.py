"""Levels of BabyAI whose mission is read as words."""

import contextlib
import io
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from headway.core.errors import UserError

# Of missions "go to the red ball"; number 0 stands behind the end.
WORDS = (
    "",
    *("go", "to", "the", "a"),
    *("red", "green", "blue", "purple", "yellow", "grey"),
    *("ball", "box", "key", "door"),
)
LONGEST = 5
# How many kinds of things, colours and states (of a door, or where the agent looks) a cell may hold.
CELL = (11, 6, 4)
# Forward, left, right, pick up, drop, toggle and done, as minigrid counts them.
ACTIONS = 7


class BabyAI(gymnasium.Env[dict[str, Any], np.int64]):
    """A room of BabyAI, seen by who stands in it, and a mission in words.

    The observation has the 7 x 7 cells in front of the agent (``cells``: kind, colour and state of each), the
    way it looks (``direction``), and the numbers of the words of the mission (``mission``). The reward is 1
    where the mission is done, and 0 otherwise: BabyAI's own falls with the steps. It needs ``minigrid``.

    Args:
        level: Name of a level that asks to go to something, such as ``GoToLocal``.
        render_mode: ``rgb_array`` or None.

    Source:
        Chevalier-Boisvert et al. 2019, https://arxiv.org/abs/1810.08272.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012

    def __init__(self, *, level: str = "GoToRedBallGrey", render_mode: str | None = None) -> None:
        try:
            import minigrid  # noqa: F401  # registers the levels
        except ImportError as error:
            raise UserError(f"BabyAI needs minigrid: pip install minigrid ({error})") from None
        self.level, self.render_mode = level, render_mode
        self.room = gymnasium.make(f"BabyAI-{level}-v0", render_mode=render_mode)
        self.observation_space = gymnasium.spaces.Dict(
            {
                "cells": gymnasium.spaces.Box(0, 255, (7, 7, len(CELL)), np.uint8),
                "direction": gymnasium.spaces.Discrete(4),
                "mission": gymnasium.spaces.MultiDiscrete([len(WORDS)] * LONGEST),
            }
        )
        self.action_space = gymnasium.spaces.Discrete(ACTIONS)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begins an episode in a new room."""
        super().reset(seed=seed, options=options)
        # It prints each room that it has drawn in vain.
        with contextlib.redirect_stdout(io.StringIO()):
            observation, _ = self.room.reset(seed=seed, options=options)
        return self._read(observation), {"success": False}

    def step(
        self, action: np.int64 | int
    ) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Acts."""
        observation, reward, ended, truncated, _ = self.room.step(int(action))
        done = float(reward) > 0
        return self._read(observation), float(done), ended, truncated, {"success": done}

    def render(self) -> Any:
        """Returns a picture from above."""
        return self.room.render()

    def close(self) -> None:
        """Closes the room."""
        self.room.close()

    def _read(self, observation: dict[str, Any]) -> dict[str, Any]:
        return {
            "cells": observation["image"],
            "direction": np.int64(observation["direction"]),
            "mission": words_of(observation["mission"]),
        }


def words_of(mission: str) -> NDArray[np.int64]:
    """Returns the numbers of the words of a mission, (LONGEST,).

    Raises:
        UserError: If it is longer or has other words.
    """
    words = mission.split()
    unknown = [word for word in words if word not in WORDS]
    if unknown or len(words) > LONGEST:
        raise UserError(
            f"the mission {mission!r} is no such as 'go to the red ball'; levels that ask to go to something "
            "are read, such as GoToRedBallGrey and GoToLocal"
        )
    found = np.zeros(LONGEST, np.int64)
    found[: len(words)] = [WORDS.index(word) for word in words]
    return found


class BabyAIBot:
    """Plays as BabyAI's own bot, which knows the whole room.

    Args:
        env: What it plays in.
    """

    def __init__(self, env: BabyAI) -> None:
        from minigrid.utils.baby_ai_bot import BabyAIBot as Planner

        self.planner = Planner(env.room.unwrapped)
        self.last: int | None = None

    def __call__(self, observation: Any) -> int:
        """Returns the action at a moment; it sees more than the observation."""
        chosen: Any = self.planner.replan(self.last)
        self.last = int(chosen)
        return self.last
