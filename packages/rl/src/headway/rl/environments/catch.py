"""Catch: a ball that falls, and a paddle that must be where it lands."""

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from headway.core.errors import UserError

CELLS = 8
PIXELS = 3  # of a cell
LEFT, STAY, RIGHT = range(3)


class Catch(gymnasium.Env[NDArray[np.uint8], np.int64]):
    """A ball falls over 8 rows of 8 columns; a paddle in the last row goes left or right, or stays.

    The observation is a picture (24, 24, 3). The reward is 1 if the ball is caught, else 0, when it lands; an
    episode has 7 steps.

    Args:
        shown: Rows in which the ball is drawn; all if None. With some, the paddle rests while it is drawn,
            so that where it will land must be remembered (``headway/CatchOnce-v0``: the first row).
        render_mode: ``rgb_array`` or None.

    Source:
        After Catch of Mnih et al. 2014, https://arxiv.org/abs/1406.6247, section 4.2.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012

    def __init__(self, *, shown: int | None = None, render_mode: str | None = None) -> None:
        if shown is not None and not 1 <= shown <= CELLS - 4:
            raise UserError(
                f"shown is {shown}; it must lie between 1 and {CELLS - 4}, so that there is time to move"
            )
        self.shown, self.render_mode = shown, render_mode
        side = CELLS * PIXELS
        self.observation_space = gymnasium.spaces.Box(0, 255, (side, side, 3), np.uint8)
        self.action_space = gymnasium.spaces.Discrete(3)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Drops a ball."""
        super().reset(seed=seed, options=options)
        self.row, self.column, self.paddle = 0, int(self.np_random.integers(CELLS)), CELLS // 2
        return self._picture(), {}

    def step(self, action: np.int64) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Moves the paddle, and the ball."""
        if self.shown is None or self.row >= self.shown:
            self.paddle = int(np.clip(self.paddle + int(action) - STAY, 0, CELLS - 1))
        self.row += 1
        landed = self.row == CELLS - 1
        caught = landed and self.paddle == self.column
        return self._picture(), float(caught), landed, False, {"success": caught}

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Returns what is seen, larger."""
        if self.render_mode != "rgb_array":
            return None
        return self._picture().repeat(4, axis=0).repeat(4, axis=1)

    def _picture(self) -> NDArray[np.uint8]:
        cells = np.zeros((CELLS, CELLS, 3), np.uint8)
        if self.shown is None or self.row < self.shown:
            cells[self.row, self.column] = (255, 255, 255)
        cells[-1, self.paddle] = (60, 160, 255)
        return cells.repeat(PIXELS, axis=0).repeat(PIXELS, axis=1)
