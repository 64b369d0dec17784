"""Observations of environments as tensors."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from headway.core.errors import UserError
from headway.rl.layers.observations import Observations
from headway.rl.spaces import Box, Dict, Leaf, Space, shape_of


def as_batch(
    observation: Any, space: Space, device: torch.device | str | None = None
) -> tuple[Observations, bool]:
    """Returns observations as tensors with an axis of environments, and whether there was none.

    Args:
        observation: (B, *shape) or (*shape), or several such by name.
        space: What is expected.
        device: Where the tensors shall be.

    Raises:
        UserError: If they have another shape, or a part is missing.
    """
    if not isinstance(space, Dict):
        return _leaf(np.asarray(observation), space, device, "")
    if not isinstance(observation, Mapping):
        raise UserError(f"observations are expected by name ({', '.join(space.parts)})")
    found, single = {}, False
    for name, part in space.parts.items():
        if name not in observation:
            raise UserError(f"the observation {name!r} is missing; got {sorted(observation)}")
        found[name], single = _leaf(np.asarray(observation[name]), part, device, f" as {name}")
    return found, single


def _leaf(values: Any, space: Leaf, device: Any, named: str) -> tuple[torch.Tensor, bool]:
    shape = shape_of(space)
    if values.shape[values.ndim - len(shape) :] != shape or values.ndim - len(shape) not in (0, 1):
        shown = values.shape[1:] if values.ndim > len(shape) else values.shape
        raise UserError(
            f"the environment shows {_said(shown)}{named}, the model was trained on {_said(shape)}; "
            "they do not belong together"
        )
    single = values.ndim == len(shape)
    values = np.asarray(values, order="C")  # tensors know no negative strides
    if values.dtype == np.float64:
        values = values.astype(np.float32)
    found = torch.as_tensor(values[None] if single else values, device=device)
    if isinstance(space, Box) and not space.is_image:
        found = found.to(torch.float32)
    return found, single


def _said(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} numbers" if len(shape) == 1 else f"numbers of shape {list(shape)}"


def push(past: Any, new: Any) -> Any:
    """Returns the last steps (B, K, ...) with a new one (B, ...) on the right, or of several by name."""
    if isinstance(past, Mapping):
        return {name: push(past[name], new[name]) for name in past}
    return torch.cat([past[:, 1:], new[:, None].to(past.dtype)], dim=1)
