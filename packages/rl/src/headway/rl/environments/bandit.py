"""Slot machines: several arms, of which one pays best."""

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray


class Bandit(gymnasium.Env[NDArray[np.float32], np.int64]):
    """Arms that pay normally distributed rewards; what each pays in the mean is drawn for every episode.

    There is nothing to see: the observation is always 0. ``info`` has the means.

    Args:
        arms: How many.
        horizon: Pulls of an episode.
        noise: Deviation of a reward.
        render_mode: None.

    Source:
        Lee et al. 2023, https://arxiv.org/abs/2306.14892, section 4 (means uniform between 0 and 1, noise
        .3).
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self, *, arms: int = 5, horizon: int = 100, noise: float = 0.3, render_mode: None = None
    ) -> None:
        self.arms, self.horizon, self.noise = arms, horizon, noise
        self.observation_space = gymnasium.spaces.Box(0, 1, (1,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(arms)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Draws new means; ``options["means"]`` sets them."""
        super().reset(seed=seed, options=options)
        given = (options or {}).get("means")
        self.means = self.np_random.random(self.arms) if given is None else given
        self.time = 0
        return np.zeros(1, np.float32), {"means": self.means}

    def step(
        self, action: np.int64
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Pulls an arm."""
        reward = float(self.np_random.normal(self.means[int(action)], self.noise))
        self.time += 1
        ended = self.time == self.horizon
        return np.zeros(1, np.float32), reward, False, ended, {"means": self.means}
