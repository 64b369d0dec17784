"""Episodes: in memory, or read from a file where they are wanted."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headway.core.errors import InputError
from headway.rl.layers.observations import each


class Stored(Protocol):
    """Rows of numbers, one for each step, that are read from a file in slices."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and the shape of one."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        ...

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Returns some rows."""
        ...


# Rows in memory or in a file; one for each step.
Column = NDArray[Any] | Stored
Columns = Column | Mapping[str, Column]
_PARTS = ("observations", "actions", "rewards", "expert_actions", "skills")


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """One episode, in the units and types of its environment.

    Args:
        observations: What was seen before each action, (T, *shape), or several such by name; with a further
            row, what was seen at the end.
        actions: (T, *shape), or (T,) whole numbers of single choices, from where they start.
        rewards: What followed each action, (T,) float32.
        terminated: Whether the episode ended by itself; otherwise it was cut off.
        expert_actions: What somebody who knows the task would have done at each step, as ``actions``.
        skills: Number of the skill that each step is part of, (T,) int64, where somebody has said it.
        task: Number of the task that was tried, where an environment has hidden ones.
        discount: Of later rewards in ``returns_to_go``.
        asked: The return that was asked for when it was played: ``returns_to_go`` is what was left of it at
            each step, whatever came about; None where nobody has asked.
        carried: What a recurrent model carries into each step, (T, K); no part of checkpoints.
    """

    observations: Columns
    actions: NDArray[Any]
    rewards: NDArray[np.float32]
    terminated: bool = True
    expert_actions: NDArray[Any] | None = None
    skills: NDArray[np.int64] | None = None
    task: int = 0
    discount: float = 1.0
    asked: float | None = None
    carried: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.actions)

    @cached_property
    def returns_to_go(self) -> NDArray[np.float32]:
        """What is still to come at each step, (T,)."""
        if self.asked is not None:
            before = np.cumsum(self.rewards, dtype=np.float64) - self.rewards
            return (self.asked - before).astype(np.float32)
        if self.discount != 1:
            coming = accumulate(
                self.rewards[::-1].tolist(), lambda later, now: now + self.discount * later
            )
            return np.array(list(coming)[::-1], np.float32)
        return np.cumsum(self.rewards[::-1], dtype=np.float64)[::-1].astype(np.float32)

    @property
    def total(self) -> float:
        """The sum of the rewards."""
        return float(self.rewards.sum())


def columns(observations: Columns) -> Mapping[str, Column]:
    """Returns the columns by name; that of a single one is empty."""
    return observations if isinstance(observations, Mapping) else {"": observations}


def checked(
    name: str,
    *,
    observations: Any,
    actions: NDArray[Any],
    rewards: NDArray[Any],
    terminated: bool = True,
) -> Trajectory:
    """Returns an episode of arrays of any precision; what is not an array yet is read from where it lies.

    Args:
        name: The data set and the number of the episode, for messages.
        observations: (T, *shape) or (T + 1, *shape), or several such by name.
        actions: (T, *shape) or (T,).
        rewards: (T,).
        terminated: Whether it ended by itself.

    Raises:
        InputError: If it is empty, holds no numbers, its parts differ in length, or it holds NaN.
    """
    seen = columns(observations)
    parts = {f"observations{f' {key}' if key else ''}": values for key, values in seen.items()}
    for part, values in {**parts, "actions": actions, "rewards": rewards}.items():
        real = np.issubdtype(values.dtype, np.number) and values.dtype.kind != "c"
        if len(values.shape) == 0 or not (real or values.dtype == bool):
            raise InputError(
                name, f"{part} are {values.dtype} of shape {values.shape}; expected rows of numbers"
            )
    steps = len(actions)
    if steps == 0:
        raise InputError(name, "the episode has no steps")
    rows = sorted({values.shape[0] for values in seen.values()})
    if len(rewards) != steps or len(rows) != 1 or rows[0] not in (steps, steps + 1):
        raise InputError(
            name,
            f"{steps} actions, {len(rewards)} rewards and {' or '.join(map(str, rows))} observations "
            "do not belong together",
        )
    rewards = rewards.reshape(steps).astype(np.float32)
    # What lies in a file is looked at when it is read.
    arrays = {part: values for part, values in parts.items() if isinstance(values, np.ndarray)}
    for part, values in {**arrays, "actions": actions, "rewards": rewards}.items():
        check_finite(name, part, values)
    if np.issubdtype(actions.dtype, np.integer) or actions.dtype == bool:
        actions = actions.astype(np.int64)
    return Trajectory(
        observations=observations, actions=actions, rewards=rewards, terminated=terminated
    )


def to_tensors(trajectory: Trajectory) -> dict[str, Any]:
    """Returns an episode as tensors and plain values, which a checkpoint may hold."""
    found = {name: getattr(trajectory, name) for name in _PARTS}
    # What lies in a file is read; what repeats one row is written out.
    return {
        name: each(lambda x: torch.from_numpy(np.array(x[:])), values)
        for name, values in found.items()
        if values is not None
    } | {"terminated": trajectory.terminated, "asked": trajectory.asked}


def from_tensors(parts: Mapping[str, Any]) -> Trajectory:
    """Returns the episode that ``to_tensors`` has taken apart."""
    arrays = {name: each(Tensor.numpy, parts[name]) for name in _PARTS if name in parts}
    return Trajectory(**arrays, terminated=parts["terminated"], asked=parts.get("asked"))


def check_finite(name: str, part: str, values: NDArray[Any]) -> None:
    """Raises ``InputError`` if there is NaN or infinity, naming the step."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        step = int(np.argwhere(~np.isfinite(values))[0][0])
        raise InputError(name, f"{part} hold NaN or infinity at step {step}")
