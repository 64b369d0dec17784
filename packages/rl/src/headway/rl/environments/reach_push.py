"""Reach and push: go round a block to its far side, then push it onto a target."""

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from headway.rl.environments.plane import blank_picture, paint_disc, speed, towards

STEP = 0.08
STEPS = 100
BLOCK, HAND = 0.2, 0.08  # radii
DONE = 0.9
FRICTION = 0.25


class ReachPush(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """A hand on a plane reaches a round block, goes behind it and pushes it onto a round target.

    The observation has 6 entries: the positions of hand, block and target. The action is a velocity (2) of
    at most length 1; one below a quarter is held up by friction. A hand that would enter the block moves it
    straight away from itself; off its middle it slips. Rewards add up to the largest share of the target that
    the block has covered (``coverage``); nine tenths of it end the episode with the whole reward, 100 steps
    cut it off.

    Args:
        render_mode: ``rgb_array`` or None.

    Source:
        After Chi et al. 2023 (Push-T), https://arxiv.org/abs/2303.04137, section 5.1, with discs, so that a
        script can play it.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, *, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = gymnasium.spaces.Box(-1.2, 1.2, (6,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Puts target, block and hand somewhere."""
        super().reset(seed=seed, options=options)
        self.time, self.coverage = 0, 0.0
        angle = self.np_random.uniform(-np.pi, np.pi)
        self.target = 0.6 * np.array([np.cos(angle), np.sin(angle)])
        self.block = self.np_random.uniform(-0.15, 0.15, 2)
        # The hand stands on the side of the target: it has to go round the block.
        beside = angle + self.np_random.uniform(-0.9, 0.9)
        self.hand = self.block + 0.45 * np.array([np.cos(beside), np.sin(beside)])
        return self._observe(), {"coverage": 0.0}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Moves the hand, and the block before it."""
        velocity = speed(action)
        if np.linalg.norm(velocity) >= FRICTION:
            self.hand = np.clip(self.hand + STEP * velocity, -1.2, 1.2)
        away = self.block - self.hand
        distance = max(float(np.linalg.norm(away)), 1e-6)
        if distance < BLOCK + HAND:
            self.block = self.hand + away / distance * (BLOCK + HAND)
            self.block = np.clip(self.block, -1.2, 1.2)
        self.time += 1
        covered = overlap(float(np.linalg.norm(self.block - self.target)))
        ended = covered >= DONE
        best = 1.0 if ended else max(self.coverage, covered)
        reward, self.coverage = best - self.coverage, best
        truncated = not ended and self.time == STEPS
        return self._observe(), reward, ended, truncated, {"coverage": self.coverage}

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Returns a picture."""
        if self.render_mode != "rgb_array":
            return None
        picture = blank_picture()
        paint_disc(picture, self.target, BLOCK, (170, 220, 180))
        paint_disc(picture, self.block, BLOCK, (140, 90, 40))
        paint_disc(picture, self.hand, HAND, (40, 80, 200))
        return picture

    def _observe(self) -> NDArray[np.float32]:
        return np.concatenate([self.hand, self.block, self.target]).astype(np.float32)


def overlap(distance: float) -> float:
    """Returns the share of the target that a block covers whose middle is so far away."""
    half = min(distance / (2 * BLOCK), 1.0)
    return float(2 / np.pi * (np.arccos(half) - half * np.sqrt(1 - half**2)))


class ReachPushExpert:
    """Goes round the block on one side, waits a little behind it, and pushes; with small errors.

    Where both ways are about as long a coin says which side. Like people it waits before it touches the
    block, as long as it likes: what to do there does not follow from what is seen.

    Args:
        random: Of side, waiting and errors.
        noise: Deviation of the errors of each velocity.
    """

    def __init__(self, random: np.random.Generator, *, noise: float = 0.1) -> None:
        self.random, self.noise = random, noise
        self.side = 0
        self.waits = int(random.integers(2, 7))
        self.pushes = False

    def __call__(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the velocity."""
        hand, block, target = observation.astype(np.float64).reshape(3, 2)
        back = (block - target) / max(float(np.linalg.norm(block - target)), 1e-6)
        behind = block + (BLOCK + HAND + 0.06) * back
        if not self.pushes and np.linalg.norm(hand - behind) < 0.05:
            if self.waits > 0:
                self.waits -= 1
                return np.zeros(2, np.float32)
            self.pushes = True
        if self.pushes:
            velocity = self._push(hand, block, target)
        else:
            velocity = self._go_round(hand - block, back, block, behind)
        velocity = velocity + self.noise * self.random.standard_normal(2)
        return speed(velocity).astype(np.float32)

    def _go_round(
        self,
        offset: NDArray[np.float64],
        back: NDArray[np.float64],
        block: NDArray[np.float64],
        behind: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Returns the velocity along a circle round the block to the place behind it."""
        turn = np.arctan2(back[1], back[0]) - np.arctan2(offset[1], offset[0])
        turn = (turn + np.pi) % (2 * np.pi) - np.pi
        if self.side == 0:
            shorter = 1 if turn > 0 else -1
            tossed = 1 if self.random.random() < 0.5 else -1
            self.side = tossed if abs(turn) > 0.75 * np.pi else shorter
        if abs(turn) < 0.35:
            return towards(block + offset, behind, STEP)
        angle = np.arctan2(offset[1], offset[0]) + 0.3 * self.side
        ring = (BLOCK + HAND + 0.1) * np.array([np.cos(angle), np.sin(angle)])
        return towards(offset, ring, STEP)

    @staticmethod
    def _push(
        hand: NDArray[np.float64], block: NDArray[np.float64], target: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Returns the velocity that moves the block to the target, from where the hand touches it."""
        way = target - block
        ahead = block + min(float(np.linalg.norm(way)), STEP) * way / max(
            float(np.linalg.norm(way)), 1e-6
        )
        back = (block - target) / max(float(np.linalg.norm(way)), 1e-6)
        return towards(hand, ahead + (BLOCK + HAND) * back, STEP)
