"""Flow matching: straight ways from noise to data."""

from collections.abc import Callable

import torch
from torch import Tensor

from headway.core.errors import UserError

Velocity = Callable[[Tensor, Tensor], Tensor]
"""``(x, time) -> velocity`` at times from 0 (noise) to 1 (data)."""


def on_the_way(start: Tensor, time: Tensor, noise: Tensor) -> Tensor:
    """Returns where data are at a time, on the straight line from noise to them.

    A model that is told place and time learns the velocity ``start - noise``.

    Shape:
        start, noise: (B, ...). time: (B,), from 0 (noise) to 1 (data).

    Source:
        Lipman et al. 2022, https://arxiv.org/abs/2210.02747; Liu et al. 2022,
        https://arxiv.org/abs/2209.03003.
    """
    time = time.reshape(-1, *[1] * (start.ndim - 1)).to(start)
    return time * start + (1 - time) * noise


def flow(velocity: Velocity, noise: Tensor, *, steps: int = 10) -> Tensor:
    """Goes from noise to data in steps of equal length (Euler).

    Args:
        velocity: The model.
        noise: Where to begin, (B, ...).
        steps: How many.

    Shape:
        Output: as noise.

    Raises:
        UserError: If there are no steps.
    """
    if steps < 1:
        raise UserError(f"steps of a flow must be at least 1, got {steps}")
    x = noise
    for step in range(steps):
        time = torch.full((x.shape[0],), step / steps, dtype=x.dtype, device=x.device)
        with torch.no_grad():
            x = x + velocity(x, time) / steps
    return x
