"""Samples from a model that predicts data from noisy data."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, Protocol

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.generation.diffusion.process import GaussianDiffusion

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""``(x, step) -> start``: what the data were, said from what is left of them after a step."""


class Condition(Protocol):
    """What the samples hold to while they are made: ``Reconstruction``, or a space that they stay in."""

    def hold(
        self,
        x: Tensor,
        step: Tensor,
        predict: Denoiser,
        process: GaussianDiffusion,
        draw: Callable[[], Tensor],
        /,
    ) -> Tensor:
        """Returns the samples at a step as they should be; -1 for the data themselves."""
        ...


def sample(
    denoiser: Denoiser,
    process: GaussianDiffusion,
    shape: Sequence[int],
    *,
    steps: int | None = None,
    eta: float = 1.0,
    limit: float | None = 1.0,
    spacing: Literal["trailing", "leading"] = "trailing",
    condition: Condition | None = None,
    generator: torch.Generator | None = None,
    draw: Callable[[], Tensor] | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> Tensor:
    """Goes from noise to data.

    Args:
        denoiser: Predicts the data.
        process: The process that it was trained for.
        shape: Of the samples, items first.
        steps: How many steps are made, evenly spaced; all if None.
        eta: How much fresh noise enters: 1 as in DDPM, 0 none (DDIM).
        limit: Largest absolute value of the data, to which predictions are cut; None for none.
        spacing: Which steps are made where not all are: ``trailing`` begins at the last one, ``leading``
            ends at the first one.
        condition: Moves the samples after each step, such as to what is known of the data.
        generator: Of the noise.
        draw: Gives noise of the shape, where items have randomness of their own; by the generator if None.
        dtype: Of the samples.
        device: Of the samples.

    Shape:
        Output: ``shape``.

    Raises:
        UserError: If there are fewer steps in the process, ``eta`` is not between 0 and 1, or the spacing is
            another.
    """
    steps = process.steps if steps is None else steps
    if not 1 <= steps <= process.steps:
        raise UserError(f"steps is {steps}; this diffusion has 1 to {process.steps}")
    if not 0 <= eta <= 1:
        raise UserError(f"eta is {eta}; it lies between 0 (no fresh noise) and 1")

    if spacing not in ("trailing", "leading"):
        raise UserError(f"spacing is {spacing!r}; it is trailing or leading")

    def randn() -> Tensor:
        return torch.randn(tuple(shape), generator=generator, dtype=dtype, device=device)

    draw = randn if draw is None else draw

    def predict(x: Tensor, step: Tensor) -> Tensor:
        start = denoiser(x, step)
        return start if limit is None else start.clamp(-limit, limit)

    if spacing == "trailing":
        places = torch.linspace(-1, process.steps - 1, steps + 1).round().long().tolist()[::-1]
    else:
        places = [n * (process.steps // steps) for n in reversed(range(steps))] + [-1]
    x = draw()
    for place, following in pairwise(places):
        step = torch.full((shape[0],), place, dtype=torch.long, device=device)
        to = torch.full_like(step, following)
        with torch.no_grad():
            x = process.jump(x, step, to, predict(x, step), draw(), eta)
        if condition is not None:
            x = condition.hold(x, to, predict, process, draw)
    return x
