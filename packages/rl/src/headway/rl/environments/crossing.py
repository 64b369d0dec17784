"""Two paths that cross: what is wanted begins on one of them and ends on the other."""

from typing import Any, Literal

import gymnasium
import numpy as np
from numpy.typing import NDArray

from headway.core.errors import UserError
from headway.rl.environments.plane import blank_picture, paint_disc, speed, towards

STEP = 0.1
REACHED = 0.15
STEPS = 50
LOW, HIGH = np.array([-1.0, -0.7]), np.array([-1.0, 0.7])
GOAL, NOTHING = np.array([1.0, -0.7]), np.array([1.0, 0.7])
Start = Literal["low", "high", "both"]


class Crossing(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """A point on a plane goes from the left to the right, where one of two corners pays.

    The observation is the position (2), the action a velocity (2) of at most length 1, which moves the point
    by a tenth. The lower right corner pays 1 and ends the episode, the upper right one pays nothing and ends
    it, too; 50 steps cut it off. ``info`` says whether the goal was reached (``success``). Who starts low
    and is shown straight paths alone (``CrossingData``) has never seen a path of its own that pays.

    Args:
        start: The lower left corner, the upper one, or one of both by chance.
        render_mode: ``rgb_array`` or None.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, *, start: Start = "low", render_mode: str | None = None) -> None:
        if start not in ("low", "high", "both"):
            raise UserError(f"start is {start!r}; it is low, high or both")
        self.start, self.render_mode = start, render_mode
        self.observation_space = gymnasium.spaces.Box(-2, 2, (2,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begins an episode near a corner of the left."""
        super().reset(seed=seed, options=options)
        self.time = 0
        start = self.start if self.start != "both" else ("low", "high")[self.np_random.integers(2)]
        corner = LOW if start == "low" else HIGH
        self.place = corner + self.np_random.uniform(-0.05, 0.05, 2)
        return self._observe(), {"success": False}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Moves."""
        self.place = np.clip(self.place + STEP * speed(action), -2, 2)
        self.time += 1
        reached = bool(np.linalg.norm(self.place - GOAL) < REACHED)
        ended = reached or bool(np.linalg.norm(self.place - NOTHING) < REACHED)
        truncated = not ended and self.time == STEPS
        return self._observe(), float(reached), ended, truncated, {"success": reached}

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Returns a picture."""
        if self.render_mode != "rgb_array":
            return None
        picture = blank_picture()
        paint_disc(picture, GOAL, REACHED, (30, 140, 60))
        paint_disc(picture, NOTHING, REACHED, (120, 120, 120))
        paint_disc(picture, self.place, 0.05, (40, 80, 200))
        return picture

    def _observe(self) -> NDArray[np.float32]:
        return self.place.astype(np.float32)


class CrossingExpert:
    """Goes straight through the middle to the opposite corner, with errors.

    Args:
        random: Of the errors.
        noise: Deviation of the errors of each velocity.
    """

    def __init__(self, random: np.random.Generator, *, noise: float = 0.2) -> None:
        self.random, self.noise = random, noise
        self.goals: list[NDArray[np.float64]] = []

    def __call__(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the velocity at a position."""
        if not self.goals:
            self.goals = [np.zeros(2), NOTHING if observation[1] < 0 else GOAL]
        if len(self.goals) > 1 and np.linalg.norm(self.goals[0] - observation) < 0.12:
            self.goals.pop(0)
        velocity = towards(observation, self.goals[0], STEP)
        velocity = velocity + self.noise * self.random.standard_normal(2)
        return speed(velocity).astype(np.float32)
