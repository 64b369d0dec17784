"""The spaces of gymnasium, as plain data; observations by flat names."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces as gym
from numpy.typing import NDArray

from headway.core.errors import UserError
from headway.rl.spaces import Bounds, Box, Dict, Discrete, Leaf, MultiDiscrete, Space, Spaces

# A row of numbers or pictures, or several by name.
Observation = NDArray[Any] | Mapping[str, NDArray[Any]]


def read_spaces(observation: gym.Space[Any], action: gym.Space[Any]) -> Spaces:
    """Returns what an environment shows and takes.

    Raises:
        UserError: If an observation or action is of a kind that no model reads (text, graphs, sequences),
            or an action consists of several by name.
    """
    seen, done = read_space(observation), read_space(action)
    if isinstance(done, Dict):
        raise UserError(
            f"actions of {action} are several by name; policies take one Box, Discrete or MultiDiscrete: "
            "wrap the environment so that it takes them as one array"
        )
    return Spaces(observation=seen, action=done)


def read_space(space: gym.Space[Any]) -> Space:
    """Returns a space of gymnasium as plain data; what is nested gets names such as ``camera/left``."""
    if isinstance(space, (gym.Dict, gym.Tuple)):
        return Dict(parts=dict(_leaves(space, "")))
    return _leaf(space)


def named(observation: Any) -> Observation:
    """Returns an observation by the flat names of ``read_space``: nested ones, and tuples by number."""
    if not isinstance(observation, (Mapping, tuple)):
        return np.asarray(observation)
    found: dict[str, NDArray[Any]] = {}
    for name, part in _items(observation):
        inner = named(part)
        if isinstance(inner, Mapping):
            found |= {f"{name}/{below}": value for below, value in inner.items()}
        else:
            found[name] = inner
    return found


def _items(values: Any) -> list[tuple[str, Any]]:
    pairs = values.items() if isinstance(values, Mapping) else enumerate(values)
    return [(str(name), value) for name, value in pairs]


def _leaves(space: Any, prefix: str) -> list[tuple[str, Leaf]]:
    found = []
    for name, part in _items(space.spaces):
        if isinstance(part, (gym.Dict, gym.Tuple)):
            found += _leaves(part, f"{prefix}{name}/")
        else:
            found.append((f"{prefix}{name}", _leaf(part)))
    return found


def _leaf(space: Any) -> Leaf:
    if isinstance(space, gym.Discrete):
        return Discrete(n=int(space.n), start=int(space.start))
    if isinstance(space, gym.MultiBinary):
        if len(space.shape) != 1:
            raise UserError(f"switches of {space} have {len(space.shape)} axes; one is known")
        number = space.shape[0]
        return MultiDiscrete(n=(2,) * number, start=(0,) * number)
    if isinstance(space, gym.MultiDiscrete):
        if space.nvec.ndim != 1:
            raise UserError(f"choices of {space} have {space.nvec.ndim} axes; one is known")
        starts = tuple(map(int, np.broadcast_to(space.start, space.nvec.shape)))
        return MultiDiscrete(n=tuple(map(int, space.nvec)), start=starts)
    if isinstance(space, gym.Box):
        return Box(
            shape=tuple(map(int, space.shape)),
            low=_bounds(space.low),
            high=_bounds(space.high),
            dtype=str(space.dtype),
        )
    raise UserError(
        f"{space} is nothing that a model reads; wrap the environment so that it shows numbers (Box), "
        "choices (Discrete, MultiDiscrete, MultiBinary) or several of them by name (Dict, Tuple)"
    )


def _bounds(values: NDArray[Any]) -> Bounds:
    """Returns one bound for all, or one for each number, None where it is not finite."""
    flat = values.astype(np.float64).ravel()
    if len(flat) and (flat == flat[0]).all():
        return float(flat[0]) if np.isfinite(flat[0]) else None
    return tuple(float(one) if np.isfinite(one) else None for one in flat)
