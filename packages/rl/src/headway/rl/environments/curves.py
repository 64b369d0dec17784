"""Curves to follow, with forces that turn with the place: how to follow them must be found out."""

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from headway.rl.environments.plane import SIDE, blank_picture, paint_disc, speed

STEPS = 32
STEP = 0.1
FRICTION = 0.2
# How far the plane turns a force, in radians per unit to the right.
TURN = 2.0


class Curves(gymnasium.Env[Any, NDArray[np.float32]]):
    """A point is pushed over a plane that turns each push by an angle, which grows to the right.

    The observation has the names of goal environments: ``observation`` is place and velocity (4),
    ``achieved_goal`` the place (2), ``desired_goal`` the places that are wanted after each of the 32 steps
    (32, 2): those of a hidden, smooth force. The action is a force (2) of at most length 1. The reward is the
    negative distance to the place that is wanted at this step.

    Args:
        render_mode: ``rgb_array`` or None.

    Source:
        After the curves of Leibovich et al. 2022, https://arxiv.org/abs/2211.01724, section 5.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, *, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        box = gymnasium.spaces.Box
        self.observation_space = gymnasium.spaces.Dict(
            {
                "observation": box(-np.inf, np.inf, (4,), np.float32),
                "achieved_goal": box(-np.inf, np.inf, (2,), np.float32),
                "desired_goal": box(-np.inf, np.inf, (STEPS, 2), np.float32),
            }
        )
        self.action_space = box(-1, 1, (2,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
        """Begins an episode in the middle, at rest."""
        super().reset(seed=seed, options=options)
        self.wanted = np.zeros((STEPS, 2))
        self._rest()
        for time, force in enumerate(smooth_forces(self.np_random)):
            self._push(force)
            self.wanted[time] = self.place
        self._rest()
        return self._observe(), {}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[dict[str, NDArray[np.float32]], float, bool, bool, dict[str, Any]]:
        """Pushes."""
        self._push(speed(action))
        missed = float(np.linalg.norm(self.place - self.wanted[self.time]))
        self.time += 1
        return self._observe(), -missed, False, self.time == STEPS, {"distance": missed}

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Returns a picture: the curve grey, the point blue."""
        if self.render_mode != "rgb_array":
            return None
        picture = blank_picture()
        for place in self.wanted:
            paint_disc(picture, place / 2, 0.02, (150, 150, 150))
        paint_disc(picture, self.place / 2, 0.05, (40, 80, 200))
        assert picture.shape[0] == SIDE
        return picture

    def _rest(self) -> None:
        self.time, self.place, self.velocity = 0, np.zeros(2), np.zeros(2)

    def _push(self, force: NDArray[np.float64]) -> None:
        angle = TURN * self.place[0]
        turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        self.velocity = (1 - FRICTION) * self.velocity + FRICTION * turned @ force
        self.place = self.place + STEP * self.velocity

    def _observe(self) -> dict[str, NDArray[np.float32]]:
        return {
            "observation": np.concatenate([self.place, self.velocity]).astype(np.float32),
            "achieved_goal": self.place.astype(np.float32),
            "desired_goal": self.wanted.astype(np.float32),
        }


def smooth_forces(random: np.random.Generator) -> NDArray[np.float64]:
    """Returns forces (32, 2) of length 1 whose direction turns slowly, at a rate that changes once."""
    rates = random.uniform(-0.25, 0.25, 2).repeat(STEPS // 2)
    angles = random.uniform(0, 2 * np.pi) + np.cumsum(rates)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)
