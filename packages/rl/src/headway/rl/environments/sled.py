"""A sled on ice with three engines; how far each of them moves it differs from sled to sled."""

import itertools
from typing import Any, Literal

import gymnasium
import numpy as np
from numpy.typing import NDArray

from headway.core.errors import UserError

STEPS = 12
PLACES = 13
MIDDLE = PLACES // 2
FURTHEST = 3  # that an engine moves a sled
MOVES = 2 * FURTHEST + 1
Bodies = Literal["many", "held out", "one"]
# Places that the three engines move a sled, to the right; no sled moves one way alone.
ALL = tuple(
    body
    for body in itertools.product(range(-FURTHEST, FURTHEST + 1), repeat=3)
    if min(body) < 0 < max(body)
)
BODIES = {
    "many": tuple(body for body in ALL if sum(body) % 4),
    "held out": tuple(body for body in ALL if not sum(body) % 4),
    "one": ((-2, 1, 3),),
}


class Sled(gymnasium.Env[NDArray[np.int64], np.int64]):
    """A sled shall stand near the middle of 13 places of ice; nothing shows how it moves but that it does.

    The action is one of three engines, each of which moves the sled by up to three places to the left or to
    the right, not beyond the edges. The observation is which engine ran last and how far the sled has moved,
    as one choice of 21 (and 0 in the beginning), and its place. A step is rewarded by where it begins: 1 in
    the middle, and a quarter less for each place beside it. 12 steps cut an episode off. The body follows
    from the seed; ``info`` has it.

    Args:
        bodies: ``many`` sleds, others that are ``held out`` (about a quarter of all), or ``one``.
        render_mode: None.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, *, bodies: Bodies = "many", render_mode: None = None) -> None:
        if bodies not in BODIES:
            raise UserError(f"bodies is {bodies!r}; it is one of {list(BODIES)}")
        self.bodies = BODIES[bodies]
        self.observation_space = gymnasium.spaces.MultiDiscrete([1 + 3 * MOVES, PLACES])
        self.action_space = gymnasium.spaces.Discrete(3)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.int64], dict[str, Any]]:
        """Takes a sled, and puts it somewhere."""
        super().reset(seed=seed, options=options)
        self.body = self.bodies[int(self.np_random.integers(len(self.bodies)))]
        self.place, self.event, self.time = int(self.np_random.integers(PLACES)), 0, 0
        return self._observe(), {"body": self.body}

    def step(self, action: np.int64) -> tuple[NDArray[np.int64], float, bool, bool, dict[str, Any]]:
        """Moves."""
        reward = max(0.0, 1 - abs(self.place - MIDDLE) / 4)
        there = min(max(self.place + self.body[int(action)], 0), PLACES - 1)
        self.event = 1 + int(action) * MOVES + there - self.place + FURTHEST
        self.place, self.time = there, self.time + 1
        return self._observe(), reward, False, self.time == STEPS, {"body": self.body}

    def _observe(self) -> NDArray[np.int64]:
        return np.array([self.event, self.place], np.int64)
