"""A ring of doors: what opening one is worth says how far away the prize lies."""

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from headway.core.errors import UserError


class Ring(gymnasium.Env[NDArray[np.float32], np.int64]):
    """Doors in a ring, behind one of which lies a prize; nothing shows which.

    An episode opens one door. The reward is 1 at the prize and falls evenly to 0 on the other side of the
    ring: so one try leaves at most two doors that may be right. The prize follows from the seed:
    episodes from the same seed are tries at the same task. There is nothing to see: the observation is
    always 0; ``info`` has the prize.

    Args:
        doors: How many; an even number.
        render_mode: None.

    Raises:
        UserError: If ``doors`` is odd or below 4.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, *, doors: int = 4, render_mode: None = None) -> None:
        if doors < 4 or doors % 2:
            raise UserError(f"doors is {doors}; it must be an even number from 4")
        self.doors = doors
        self.observation_space = gymnasium.spaces.Box(0, 1, (1,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(doors)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Hides the prize."""
        super().reset(seed=seed, options=options)
        self.prize = int(self.np_random.integers(self.doors))
        return np.zeros(1, np.float32), {"prize": self.prize}

    def step(
        self, action: np.int64
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Opens a door."""
        worth = float(self.worth(int(action), self.prize))
        return np.zeros(1, np.float32), worth, True, False, {"prize": self.prize}

    def worth(self, door: Any, prize: Any) -> Any:
        """Returns the reward of doors."""
        apart = np.abs(door - prize)
        return 1 - np.minimum(apart, self.doors - apart) / (self.doors // 2)
