"""What trajectories say about spaces and sizes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headway.core.errors import InputError
from headway.rl.data.trajectory import Column, Trajectory, columns
from headway.rl.layers.observations import Moments
from headway.rl.models import Statistics
from headway.rl.spaces import Box, Dict, Discrete, Leaf, MultiDiscrete, Space, Spaces

# More actions, rewards or observations say nothing new about bounds or clusters.
MAX_ROWS = 100_000


def infer_spaces(trajectories: Sequence[Trajectory]) -> Spaces:
    """Returns the spaces that arrays show where nobody has said them.

    Whole numbers are choices in actions, as few as the data need; in observations they are numbers, or a
    picture where bytes have two axes and channels.
    """
    seen = columns(trajectories[0].observations)
    parts: dict[str, Leaf] = {
        name: Box(shape=tuple(values.shape[1:]), dtype=_dtype(values))
        for name, values in seen.items()
    }
    observation: Space = parts[""] if "" in parts else Dict(parts=parts)
    return Spaces(observation=observation, action=_actions(trajectories))


def _dtype(values: Column) -> str:
    return "uint8" if values.dtype == np.uint8 else "float32"


def _actions(trajectories: Sequence[Trajectory]) -> Space:
    first = trajectories[0].actions
    if not np.issubdtype(first.dtype, np.integer):
        return Box(shape=tuple(first.shape[1:]) or (1,))
    least = np.min([one.actions.min(axis=0) for one in trajectories], axis=0)
    most = np.max([one.actions.max(axis=0) for one in trajectories], axis=0)
    start = np.minimum(least, 0)
    number = most - start + 1
    if first.ndim == 1:
        return Discrete(n=int(number), start=int(start))
    return MultiDiscrete(n=tuple(map(int, number)), start=tuple(map(int, start)))


def check_alike(trajectories: Sequence[Trajectory]) -> None:
    """Raises ``InputError`` if an episode is not of the same environment as the first."""
    first = trajectories[0]
    for number, one in enumerate(trajectories):
        for part, (expected, found) in {
            "observations": (columns(first.observations), columns(one.observations)),
            "actions": ({"": first.actions}, {"": one.actions}),
        }.items():
            if _kinds(expected) != _kinds(found):
                raise InputError(
                    f"episode {number}",
                    f"its {part} are {_said(found)}, those of episode 0 {_said(expected)}; they are of "
                    "another environment",
                )


def _kinds(parts: Mapping[str, Column]) -> dict[str, tuple[str, tuple[int, ...]]]:
    # Precision alone is no other environment.
    return {name: (one.dtype.kind, tuple(one.shape[1:])) for name, one in parts.items()}


def _said(parts: Mapping[str, Column]) -> str:
    return ", ".join(f"{n} {v.dtype} {list(v.shape[1:])}".strip() for n, v in parts.items())


def statistics(
    trajectories: Sequence[Trajectory], space: Space, *, return_scale: float | None
) -> Statistics:
    """Returns the statistics of the training part.

    Args:
        trajectories: The training part.
        space: Of the observations.
        return_scale: What returns are divided by; the largest absolute return if None.
    """
    named = space.parts if isinstance(space, Dict) else {"": space}
    moments = {
        name: _moments([columns(one.observations)[name] for one in trajectories])
        for name, part in named.items()
        if isinstance(part, Box) and not part.is_image
    }
    empty = Moments(torch.zeros(()), torch.ones(()))
    if return_scale is None:
        largest = max(abs(one.returns_to_go).max() for one in trajectories)
        return_scale = float(largest) or 1.0
    return Statistics(
        observations=moments if isinstance(space, Dict) else moments.get("", empty),
        actions=torch.from_numpy(some_actions(trajectories)),
        return_scale=return_scale,
        rewards=torch.from_numpy(_thinned([one.rewards for one in trajectories])),
        seen=_seen(trajectories) if isinstance(space, Box) and not space.is_image else None,
    )


def _seen(trajectories: Sequence[Trajectory]) -> torch.Tensor:
    parts = [columns(one.observations)[""] for one in trajectories]
    return torch.from_numpy(_thinned(parts).astype(np.float32))


def _moments(parts: Sequence[Column]) -> Moments:
    """Adds up in double precision, episode by episode: what lies in files need not fit into memory."""
    number, total = 0, np.zeros(parts[0].shape[1:])
    for part in parts:
        rows = part[:].astype(np.float64)
        number, total = number + len(rows), total + rows.sum(axis=0)
    mean = total / number
    square = np.zeros_like(mean)
    for part in parts:
        square += np.square(part[:].astype(np.float64) - mean).sum(axis=0)
    std = np.sqrt(square / number)
    # A constant entry says nothing: it is centred and left as it is.
    std = np.where(std < 1e-6, 1.0, std)
    return Moments(torch.from_numpy(mean).float(), torch.from_numpy(std).float())


def some_actions(trajectories: Sequence[Trajectory]) -> NDArray[np.generic]:
    """Returns all actions, or so many of them, evenly drawn, that more say nothing new."""
    taken = _thinned([one.actions for one in trajectories])
    return taken.astype(np.float32) if taken.dtype.kind == "f" else taken


def _thinned(parts: Sequence[Column]) -> NDArray[Any]:
    """Returns all rows, or so many of them, evenly drawn, that more say nothing new."""
    step = -(-sum(part.shape[0] for part in parts) // MAX_ROWS)
    rows, skipped = [], 0
    for part in parts:
        rows.append(part[:][skipped::step])
        skipped = (skipped - part.shape[0]) % step
    return np.concatenate(rows)
