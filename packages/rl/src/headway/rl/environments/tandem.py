"""A tray on two arms, which tips over unless they agree."""

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

STEPS = 5
GAITS = 6
GROUNDS = 3


class Tandem(gymnasium.Env[np.int64, NDArray[np.int64]]):
    """Two arms carry a tray over ground that changes at each step; both choose one of six gaits.

    The tray stays level where the gait of the right arm is that of the left one and as many further as the
    ground says (0, 1 or 2; after the last gait comes the first); otherwise it tips over, and the episode
    ends. The faster the left arm goes, the more a step is rewarded: by 1 to 5 thirtieths, so that five steps
    at the fifth gait bring 5 / 6. The sixth gait is too fast: the tray always tips over. The observation is
    the ground.

    Args:
        render_mode: None.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, *, render_mode: None = None) -> None:
        self.observation_space = gymnasium.spaces.Discrete(GROUNDS)
        self.action_space = gymnasium.spaces.MultiDiscrete([GAITS, GAITS])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        """Goes to the first ground."""
        super().reset(seed=seed, options=options)
        self.carried = 0
        return self._observe(), {"carried": 0}

    def step(self, action: NDArray[np.int64]) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        """Carries the tray on, or tips it over."""
        left, right = map(int, action)
        level = right == (left + self.ground) % GAITS and left < GAITS - 1
        self.carried += level
        reward = (left + 1) / GAITS / STEPS if level else 0.0
        ended = not level or self.carried == STEPS
        return self._observe(), reward, ended, False, {"carried": self.carried}

    def _observe(self) -> np.int64:
        self.ground = int(self.np_random.integers(GROUNDS))
        return np.int64(self.ground)


class ClumsyCarrier:
    """Carries at any gait but the sixth; the faster, the more often the right arm is wrong by one gait.

    Args:
        random: Of gaits and errors.
    """

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random

    def __call__(self, observation: np.int64) -> NDArray[np.int64]:
        """Returns the gaits of both arms."""
        left = self.random.integers(GAITS - 1)
        wrong = self.random.random() < 0.05 + 0.12 * left
        missed = self.random.choice([-1, 1]) if wrong else 0
        return np.array([left, (left + observation + missed) % GAITS], np.int64)
