"""Stepping environments side by side, however they reset."""

import copy
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import iterate
from numpy.typing import NDArray

from headway.rl.environments.reading import Observation, named


class Step(NamedTuple):
    """What one step of environments side by side has brought.

    Args:
        observation: What is seen next, of a new episode where one ended.
        rewards: (B,).
        terminated: Which episodes ended by themselves, (B,).
        truncated: Which were cut off, (B,).
        counted: Which environments have taken the action; one that only resets has not, (B,).
        start: Where ``observation`` begins an episode, (B,).
    """

    observation: Observation
    rewards: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    start: NDArray[np.bool_]


class Player:
    """Steps a vector of environments in any mode of autoreset, and says where an episode begins.

    Where environments reset themselves the seeds of later episodes are theirs to choose; those of
    ``make_vector`` (``AutoresetMode.DISABLED``) are reset with the seeds that are given.

    Args:
        envs: The environments.

    Attributes:
        taken: The actions of the last step, as the environments took them.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any]) -> None:
        self.envs = envs
        mode = envs.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self.mode = AutoresetMode(mode) if not isinstance(mode, AutoresetMode) else mode
        self._ended = np.zeros(envs.num_envs, bool)
        self._raw: Any = None
        self.taken: NDArray[Any] = np.empty(0)

    def rows(self) -> list[Any]:
        """Returns what each environment shows, as its space has it: nested, copied."""
        space = self.envs.observation_space
        return [copy.deepcopy(one) for one in iterate(space, self._raw)]

    def reset(self, seeds: NDArray[np.int64]) -> Observation:
        """Begins an episode in each environment."""
        reset: Any = self.envs.reset  # the base class does not say that seeds may be a list
        self._ended = np.zeros(self.envs.num_envs, bool)
        self._raw, _ = reset(seed=list(map(int, seeds)))
        return named(self._raw)

    def step(self, actions: NDArray[Any]) -> Step:
        """Acts. With disabled autoresets ``restart`` must follow where an episode ended."""
        self.taken = self._legal(actions)
        self._raw, rewards, terminated, truncated, _ = self.envs.step(self.taken)
        ended = np.logical_or(terminated, truncated)
        # NEXT_STEP: an environment that ended resets in this step, whatever the action.
        counted = ~self._ended if self.mode is AutoresetMode.NEXT_STEP else np.ones_like(ended)
        start = self._ended if self.mode is AutoresetMode.NEXT_STEP else ended
        self._ended = ended
        return Step(
            named(self._raw),
            np.where(counted, rewards, 0.0),
            terminated & counted,
            truncated & counted,
            counted,
            start.copy(),
        )

    def restart(self, ended: NDArray[np.bool_], seeds: NDArray[np.int64]) -> Observation | None:
        """Begins new episodes where they ended; None where environments do that by themselves."""
        if self.mode is not AutoresetMode.DISABLED:
            return None
        reset: Any = self.envs.reset
        options = {"reset_mask": ended}
        self._raw, _ = reset(seed=list(map(int, seeds)), options=options)
        return named(self._raw)

    def _legal(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Returns actions within the bounds of the space, in its shape."""
        space = self.envs.single_action_space
        if isinstance(space, spaces.Box):
            shaped = actions.reshape(len(actions), *space.shape)
            return np.clip(shaped, space.low, space.high).astype(space.dtype)
        return actions
