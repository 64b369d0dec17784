"""T-Maze: a cue at the start of a corridor says where to turn at its end."""

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from headway.core.errors import UserError

FORWARD, LEFT, RIGHT = range(3)
CELL = 16


class TMaze(gymnasium.Env[NDArray[np.float32], np.int64]):
    """A corridor that ends in a junction; the first observation alone shows which way is right there.

    The observation has two numbers: the cue (-1 for left, 1 for right; 0 after the first step) and whether
    the agent stands at the junction. The actions are forward, left, right; in the corridor only forward
    moves. The reward is 1 for the right turn, else 0; a turn at the junction ends the episode, and so does a
    step that comes later than the fastest way allows.

    Args:
        length: Steps of the fastest way: all but the last go forward, the last one turns.
        render_mode: ``rgb_array`` or None.

    Source:
        After Bakker 2001, "Reinforcement learning with long short-term memory", section 3, with the
        junction at any distance as in Ni et al. 2023, https://arxiv.org/abs/2307.03864, section 4.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 8}  # noqa: RUF012

    def __init__(self, *, length: int = 20, render_mode: str | None = None) -> None:
        if length < 2:
            raise UserError(
                f"length is {length}; a corridor needs at least 2 steps, the turn included"
            )
        self.length, self.render_mode = length, render_mode
        self.observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(3)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begins an episode."""
        super().reset(seed=seed, options=options)
        self.place, self.time = 0, 0
        self.way = LEFT + int(self.np_random.integers(2))
        return self._observe(), {}

    def step(
        self, action: np.int64
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Goes forward, or turns at the junction."""
        at_junction = self.place == self.length - 1
        self.time += 1
        turned = at_junction and int(action) != FORWARD
        reward = float(turned and int(action) == self.way)
        if not at_junction and int(action) == FORWARD:
            self.place += 1
        return self._observe(), reward, turned or self.time == self.length, False, {}

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Returns a picture of the maze; the cue is green, above or below the start."""
        if self.render_mode != "rgb_array":
            return None
        picture = np.full((3 * CELL, self.length * CELL, 3), 60, np.uint8)
        picture[CELL : 2 * CELL] = 235
        picture[:, -CELL:] = 235
        row = 0 if self.way == LEFT else 2 * CELL
        if self.time == 0:
            picture[row : row + CELL, :CELL] = (30, 140, 60)
        left = self.place * CELL
        picture[CELL + 4 : 2 * CELL - 4, left + 4 : left + CELL - 4] = (40, 80, 200)
        return picture

    def _observe(self) -> NDArray[np.float32]:
        cue = 0.0 if self.time else (-1.0 if self.way == LEFT else 1.0)
        return np.array([cue, self.place == self.length - 1], np.float32)


def right_way(seen: NDArray[np.float32], cue: float) -> int:
    """Returns what somebody does who remembers the cue."""
    if not seen[1]:
        return FORWARD
    return LEFT if cue < 0 else RIGHT
