"""Policies without a model: a script, and chance."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import UserError
from headway.rl.layers.observations import rows_of
from headway.rl.layers.streams import Streams
from headway.rl.spaces import Bounds, Box, Dict, Leaf, Spaces, flat_choices, shape_of


class ScriptedPolicy:
    """Acts by a function of what is seen.

    Args:
        act: Returns the action for the observation of one environment, (*shape) or several by name.
    """

    spaces: Spaces | None = None

    def __init__(self, act: Callable[[Any], Any]) -> None:
        self.act = act

    def predict(
        self,
        observation: Any,
        state: None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
        *,
        seeds: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[Any], None]:
        """Returns the action of each environment; see ``Policy``."""
        if isinstance(observation, dict):
            rows: list[Any] = [
                {name: part[row] for name, part in observation.items()}
                for row in range(rows_of(observation))
            ]
        else:
            rows = list(observation)
        return np.array([self.act(one) for one in rows]), None

    def observe(self, state: None, reward: NDArray[Any] | float) -> None:
        """Does nothing: a script does not look at rewards."""

    def fork(self, state: None, rows: NDArray[np.int64]) -> None:
        """Returns nothing: a script remembers nothing."""


@dataclass
class Drawing:
    """The randomness of each environment."""

    streams: Streams


class RandomPolicy:
    """Draws actions evenly between their bounds; without bounds, from the standard normal distribution.

    Args:
        spaces: What is seen and done.
        seed: Of what is drawn, where ``predict`` is given no seeds.
    """

    def __init__(self, spaces: Spaces, *, seed: int = 0) -> None:
        if isinstance(spaces.action, Dict):
            raise UserError("actions are one array, not several by name")
        self.spaces, self.seed, self._action = spaces, seed, spaces.action

    def predict(
        self,
        observation: Any,
        state: Drawing | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
        *,
        seeds: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[Any], Drawing]:
        """Returns drawn actions, whatever ``deterministic`` says; see ``Policy``."""
        number = rows_of(observation)
        if state is None:
            state = Drawing(Streams.drawn(self.seed, number))
            episode_start = np.ones(number, bool)
        if episode_start is not None:
            state.streams.restart(episode_start, seeds)
        return drawn_actions(self._action, state.streams), state

    def observe(self, state: Drawing, reward: NDArray[Any] | float) -> None:
        """Does nothing: chance does not look at rewards."""

    def fork(self, state: Drawing, rows: NDArray[np.int64]) -> Drawing:
        """Returns a copy that draws as those rows would."""
        return Drawing(state.streams.select(list(map(int, rows))))


def drawn_actions(space: Leaf, streams: Streams) -> NDArray[Any]:
    """Returns one action for each stream, (rows, *shape), drawn evenly between bounds."""
    if isinstance(space, Box):
        low, high = bounds_of(space)
        bounded = np.isfinite(low) & np.isfinite(high)
        width = np.where(bounded, high, 0) - np.where(bounded, low, 0)
        between = np.where(bounded, low, 0) + streams.uniform(space.size).double().numpy() * width
        wide = streams.normal(space.size).double().numpy()
        actions = np.where(bounded, between, np.clip(wide, low, high))
        return actions.reshape(-1, *space.shape).astype(space.dtype)
    numbers, starts = flat_choices(space)
    chosen = np.floor(streams.uniform(len(numbers)).double().numpy() * numbers).astype(np.int64)
    return (chosen + starts).reshape(-1, *shape_of(space))


def bounds_of(space: Box) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the least and the most of each number, (size,), infinite where there is no bound."""
    return _bounds(space.low, space.size, -np.inf), _bounds(space.high, space.size, np.inf)


def _bounds(bounds: Bounds, size: int, none: float) -> NDArray[np.float64]:
    each = bounds if isinstance(bounds, tuple) else (bounds,) * size
    return np.array([none if one is None else one for one in each], dtype=np.float64)
