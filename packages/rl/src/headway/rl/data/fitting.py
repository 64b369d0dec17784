"""Whether what was recorded belongs to the spaces that the recording names."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import InputError
from headway.rl.data.trajectory import Columns
from headway.rl.spaces import Box, Dict, Discrete, Leaf, Space, flat_choices, shape_of


def fitting_observations(name: str, seen: Any, space: Space) -> Columns:
    """Returns the observations of an episode, each part of which its space has.

    Args:
        name: The data set and the number of the episode, for messages.
        seen: A column, or several by name.
        space: The space.

    Raises:
        InputError: If a part is missing or has another shape, or a choice is none of its space.
    """
    if not isinstance(space, Dict):
        return _fitting(name, "observations", seen, space)
    if not isinstance(seen, Mapping) or set(seen) < set(space.parts):
        found = sorted(seen) if isinstance(seen, Mapping) else "one array"
        raise InputError(name, f"has observations {found}, expected {sorted(space.parts)}")
    return {
        key: _fitting(name, f"observations {key}", seen[key], part)
        for key, part in space.parts.items()
    }


def fitting_actions(name: str, actions: NDArray[Any], space: Space) -> NDArray[Any]:
    """Returns the actions of an episode, all of which their space has; see ``fitting_observations``."""
    assert not isinstance(space, Dict)
    if isinstance(space, Discrete) and actions.shape[1:] == (1,):
        actions = actions[:, 0]
    return _fitting(name, "actions", actions, space)


def _fitting(name: str, part: str, values: Any, space: Leaf) -> Any:
    if isinstance(space, Discrete) and values.shape[1:] == (1,) and isinstance(values, np.ndarray):
        values = values[:, 0]
    shape = shape_of(space)
    if tuple(values.shape[1:]) != shape:
        raise InputError(name, f"has {part} of {tuple(values.shape[1:])}, the space has {shape}")
    if isinstance(space, Box) or not isinstance(values, np.ndarray):
        return values
    if values.dtype.kind not in "iub":
        raise InputError(name, f"has {part} of {values.dtype}; choices are whole numbers")
    numbers, starts = flat_choices(space)
    rows = values.reshape(len(values), -1).astype(np.int64)
    wrong = (rows < np.array(starts)) | (rows >= np.add(starts, numbers))
    if wrong.any():
        step, place = np.argwhere(wrong)[0]
        what = part.removesuffix("s") if part == "actions" else part
        raise InputError(
            name,
            f"has the {what} {rows[step, place]} at step {step}; there are {numbers[place]}, from "
            f"{starts[place]}",
        )
    return values
