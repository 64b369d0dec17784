"""Episodes in memory."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """One episode.

    Args:
        observations: What was seen before each action, (T, O) float32; a further last row is left out.
        actions: (T, A) float32, or (T,) int64 of discrete actions.
        rewards: What followed each action, (T,).
        terminated: Whether the episode ended by itself; otherwise it was cut off.
    """

    observations: NDArray[np.float32]
    actions: NDArray[np.float32] | NDArray[np.int64]
    rewards: NDArray[np.float32]
    terminated: bool = True

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def total(self) -> float:
        """The sum of the rewards."""
        return float(self.rewards.sum())

    @property
    def returns_to_go(self) -> NDArray[np.float32]:
        """What is still to come at each step, (T,)."""
        return np.cumsum(self.rewards[::-1], dtype=np.float64)[::-1].astype(np.float32)


def checked(
    name: str,
    *,
    observations: NDArray,
    actions: NDArray,
    rewards: NDArray,
    terminated: bool = True,
) -> Trajectory:
    """Returns an episode of arrays of any precision.

    Args:
        name: The data set and the number of the episode, for messages.
        observations: (T, O) or (T + 1, O).
        actions: (T, A) or (T,).
        rewards: (T,).
        terminated: Whether it ended by itself.

    Raises:
        InputError: If it is empty, holds no numbers, its parts differ in length, or it holds NaN.
    """
    for part, values in (
        ("observations", observations),
        ("actions", actions),
        ("rewards", rewards),
    ):
        real = np.issubdtype(values.dtype, np.number) and not np.iscomplexobj(values)
        if values.ndim == 0 or not (real or values.dtype == bool):
            raise InputError(
                name, f"{part} are {values.dtype} of shape {values.shape}; expected rows of numbers"
            )
    steps = len(actions)
    if steps == 0:
        raise InputError(name, "the episode has no steps")
    if len(rewards) != steps or len(observations) not in (steps, steps + 1):
        raise InputError(
            name,
            f"{steps} actions, {len(rewards)} rewards and {len(observations)} observations do not "
            "belong together",
        )
    discrete = np.issubdtype(actions.dtype, np.integer)
    parts = {
        "observations": observations[:steps].reshape(steps, -1).astype(np.float32),
        "rewards": rewards.reshape(steps).astype(np.float32),
        "actions": actions.reshape(steps).astype(np.int64)
        if discrete
        else actions.reshape(steps, -1).astype(np.float32),
    }
    for part, values in parts.items():
        if not np.isfinite(values).all():
            step = int(np.argwhere(~np.isfinite(values))[0][0])
            raise InputError(name, f"{part} hold NaN or infinity at step {step}")
    return Trajectory(**parts, terminated=terminated)  # pyright: ignore[reportArgumentType]
