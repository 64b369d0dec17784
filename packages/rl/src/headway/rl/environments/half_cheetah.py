"""A script that runs: each joint of the cheetah goes by itself and its neighbours alone."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.rl.bodies import KNOWN_BODIES

HALF_CHEETAH = "HalfCheetah-v5"
# What an observation is divided by, so that all numbers have about the size of 1.
SCALE = np.array([0.1, 0.3, 0.5, 0.4, 0.4, 0.5, 0.4, 0.4, 2, 1, 1.5, 8, 8, 8, 6, 6, 6])
# Gains of each motor: of the sensors of its limb and the neighbours in the order of the observation, and a
# constant. Found by augmented random search on the return (Mania et al. 2018), 300 steps a trial, seed 0.
GAINS: tuple[tuple[float, ...], ...] = (
    (0.05, -0.30, 0.45, -0.77, 0.07, 0.58, -0.99, -0.14, -0.05, 1.17),
    (-1.43, -0.50, 0.19, 0.02, -0.71, -1.21, 0.46),
    (0.77, -0.37, 0.87, 1.27, 0.82),
    (-1.19, 0.97, -0.54, -0.40, -0.48, 0.16, -0.02, -0.30, 0.28, -0.38),
    (-0.73, -0.91, -1.16, 1.01, 0.63, -1.31, 0.05),
    (0.40, 0.02, 1.09, -0.07, 0.35),
)


class HalfCheetahGait:
    """Runs in ``HalfCheetah-v5``: each motor answers to its own limb and to those that this is joined to.

    Its mean return is about 2,400, with falls onto the back in some episodes.

    Args:
        random: Of the errors.
        noise: Deviation of the errors of each action.
    """

    def __init__(self, random: np.random.Generator, *, noise: float = 0.1) -> None:
        self.random, self.noise = random, noise
        body = KNOWN_BODIES[HALF_CHEETAH]
        limbs = list(body.limbs.values())
        self.gains = np.zeros((body.motors, body.sensors))
        self.constant = np.zeros(body.motors)
        for number, limb in enumerate(limbs):
            near = {number, *(sum(edge) - number for edge in body.edges if number in edge)}
            places = sorted(place for one in near for place in limbs[one].sensors)
            for motor in limb.motors:
                self.gains[motor, places] = GAINS[motor][:-1]
                self.constant[motor] = GAINS[motor][-1]

    def __call__(self, observation: NDArray[Any]) -> NDArray[np.float32]:
        """Returns the action, (6,)."""
        action = np.tanh(self.gains @ (observation / SCALE) + self.constant)
        action = action + self.noise * self.random.standard_normal(len(action))
        return np.clip(action, -1, 1).astype(np.float32)
