"""Key to door: a reward that depends on what was done long before."""

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

SIDE = 5
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))
CELL = 32
COLOURS = {"floor": (235, 235, 235), "key": (230, 170, 20), "door": (140, 90, 40)}


class KeyToDoor(gymnasium.Env[NDArray[np.float32], np.int64]):
    """Three rooms of 5 x 5 cells, one after the other: a key, nothing, a door.

    The agent spends a fixed number of steps in each room. Walking over the key takes it; whether it was
    taken is never shown again. The reward is 1 for reaching the door with the key, else 0.

    The observation has 8 entries: which room it is (3), row and column of the agent, whether a key or
    door is in sight, its row and column; rows and columns run from -1 to 1. The four actions are up,
    down, left, right.

    Args:
        steps: Steps in each room.
        render_mode: ``rgb_array`` or None.

    Source:
        After Mesnard et al. 2020, https://arxiv.org/abs/2011.09464, section 4.1, with a fixed time in
        each room and an empty room in the middle.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012

    def __init__(
        self, *, steps: tuple[int, int, int] = (8, 5, 8), render_mode: str | None = None
    ) -> None:
        self.steps, self.render_mode = steps, render_mode
        self.observation_space = gymnasium.spaces.Box(-1, 1, (8,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(len(MOVES))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begins an episode."""
        super().reset(seed=seed, options=options)
        self.time = 0
        self.has_key = False
        self._enter()
        return self._observe(), {"has_key": False}

    def step(
        self, action: np.int64
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Moves by one cell; walls stop."""
        row, column = MOVES[int(action)]
        self.agent = (
            min(max(self.agent[0] + row, 0), SIDE - 1),
            min(max(self.agent[1] + column, 0), SIDE - 1),
        )
        found = self.agent == self.object
        if found and self.room == 0:
            self.has_key, self.object = True, None
        self.time += 1
        opened = found and self.room == 2
        ended = opened or self.time == sum(self.steps)
        if not ended and self._room_at(self.time) != self.room:
            self._enter()
        reward = float(opened and self.has_key)
        return self._observe(), reward, ended, False, {"has_key": self.has_key}

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Returns a picture of the room."""
        if self.render_mode != "rgb_array":
            return None
        picture = np.full((SIDE * CELL, SIDE * CELL, 3), 255, np.uint8)
        for row in range(SIDE):
            for column in range(SIDE):
                self._paint(picture, (row, column), "floor", 1)
        if self.object is not None:
            self._paint(picture, self.object, "key" if self.room == 0 else "door", 4)
        top, left = self.agent[0] * CELL, self.agent[1] * CELL
        inside = picture[top + 9 : top + CELL - 9, left + 9 : left + CELL - 9]
        inside[:] = (30, 140, 60) if self.has_key else (40, 80, 200)
        return picture

    def _paint(
        self, picture: NDArray[np.uint8], cell: tuple[int, int], colour: str, edge: int
    ) -> None:
        top, left = cell[0] * CELL, cell[1] * CELL
        picture[top + edge : top + CELL - edge, left + edge : left + CELL - edge] = COLOURS[colour]

    def _room_at(self, time: int) -> int:
        return int(np.searchsorted(np.cumsum(self.steps), time, side="right"))

    def _enter(self) -> None:
        """Puts the agent and the object of the room on different cells."""
        self.room = self._room_at(self.time)
        agent, thing = self.np_random.choice(SIDE**2, size=2, replace=False)
        self.agent = (int(agent) // SIDE, int(agent) % SIDE)
        self.object: tuple[int, int] | None = None
        if self.room != 1:
            self.object = (int(thing) // SIDE, int(thing) % SIDE)

    def _observe(self) -> NDArray[np.float32]:
        seen = np.zeros(8, np.float32)
        seen[self.room] = 1
        seen[3:5] = 2 * np.array(self.agent) / (SIDE - 1) - 1
        if self.object is not None:
            seen[5] = 1
            seen[6:8] = 2 * np.array(self.object) / (SIDE - 1) - 1
        return seen
