"""Two ways round an obstacle: what is right half of the time each is wrong on average."""

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from headway.rl.environments.plane import blank_picture, paint_disc, speed, towards

STEP = 0.1
RADIUS = 0.35
REACHED = 0.15
STEPS = 50
START, GOAL = np.array([-1.0, 0.0]), np.array([1.0, 0.0])


class TwoWay(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """A point on a plane goes from the left to the right; a disc lies in the middle, and there are two ways.

    The observation is the position (2), the action a velocity (2) of at most length 1, which moves the point
    by a tenth. The reward is 1 at the goal, otherwise 0; a collision ends the episode, 50 steps cut it off.
    ``info`` says whether the goal was reached (``success``) and which way was taken (``way``: 1 over the
    disc, -1 under it, 0 before its middle).

    Args:
        render_mode: ``rgb_array`` or None.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, *, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = gymnasium.spaces.Box(-2, 2, (2,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begins an episode near the start."""
        super().reset(seed=seed, options=options)
        self.time, self.way = 0, 0
        self.place = START + self.np_random.uniform(-0.05, 0.05, 2)
        return self._observe(), self._said(success=False)

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Moves."""
        self.place = np.clip(self.place + STEP * speed(action), -2, 2)
        self.time += 1
        if self.way == 0 and self.place[0] > 0:
            self.way = 1 if self.place[1] > 0 else -1
        reached = bool(np.linalg.norm(self.place - GOAL) < REACHED)
        hit = bool(np.linalg.norm(self.place) < RADIUS)
        ended = reached or hit
        truncated = not ended and self.time == STEPS
        return self._observe(), float(reached), ended, truncated, self._said(success=reached)

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Returns a picture."""
        if self.render_mode != "rgb_array":
            return None
        picture = blank_picture()
        paint_disc(picture, np.zeros(2), RADIUS, (120, 120, 120))
        paint_disc(picture, GOAL, REACHED, (30, 140, 60))
        paint_disc(picture, self.place, 0.05, (40, 80, 200))
        return picture

    def _observe(self) -> NDArray[np.float32]:
        return self.place.astype(np.float32)

    def _said(self, *, success: bool) -> dict[str, Any]:
        return {"success": success, "way": self.way}


class TwoWayExpert:
    """Goes over the disc or under it, by the toss of a coin, with small errors.

    Args:
        random: Of the coin and the errors.
        noise: Deviation of the errors of each velocity.
    """

    def __init__(self, random: np.random.Generator, *, noise: float = 0.1) -> None:
        side = 1 if random.random() < 0.5 else -1
        self.random, self.noise = random, noise
        self.goals = [np.array([-0.3, 0.55 * side]), np.array([0.3, 0.55 * side]), GOAL]

    def __call__(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the velocity at a position."""
        while len(self.goals) > 1 and np.linalg.norm(self.goals[0] - observation) < 0.12:
            self.goals.pop(0)
        velocity = towards(observation, self.goals[0], STEP)
        velocity = velocity + self.noise * self.random.standard_normal(2)
        return speed(velocity).astype(np.float32)
