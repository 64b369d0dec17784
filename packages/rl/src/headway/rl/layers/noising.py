"""What noise does to chunks of actions, and how it is taken off again: diffusion and flow matching."""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.generation.diffusion import (
    CosineDiffusion,
    GaussianDiffusion,
    flow,
    on_the_way,
    sample,
)
from headway.core.module import Module

# A time of 0 to 1 is told to a model as a step of 0 to 1000.
TICKS = 1000


class Example(NamedTuple):
    """What a model learns from.

    Args:
        x: Noisy actions, (B, ...).
        step: How noisy they are, as the model is told, (B,).
        wanted: What it shall say, (B, ...).
    """

    x: Tensor
    step: Tensor
    wanted: Tensor


Model = Callable[[Tensor, Tensor], Tensor]
"""``(x, step) -> what was wanted``."""


class Noising(Module):
    """Makes examples of actions and noise, and actions of noise and a model that has learned from them."""

    @abstractmethod
    def example(self, actions: Tensor) -> Example:
        """Returns an example with random noise for each item of scaled actions (B, ...)."""

    @abstractmethod
    def generate(self, model: Model, noise: Callable[[], Tensor]) -> Tensor:
        """Returns scaled actions.

        Args:
            model: What has learned from examples.
            noise: Gives noise of the shape of the actions, each time anew.
        """


class DiffusionNoising(Noising):
    """Diffusion: the model says the noise in the actions.

    Args:
        process: Builds the process.
        steps: Steps of the sampler, evenly spaced.
        eta: How much fresh noise enters: 0 none (DDIM), 1 as in DDPM.
        limit: Largest absolute value of scaled actions, to which predictions are cut; None for none.
        spacing: Which steps the sampler makes; see ``headway.core.generation.diffusion.sample``.
        ticks: What the model is told of a time from 0 to 1 is so many times that; with as many as the process
            has steps, their numbers.

    Raises:
        UserError: If there are fewer steps in the process.

    Source:
        Chi et al. 2023 (Diffusion Policy), https://arxiv.org/abs/2303.04137, section 2; Song et al. 2020
        (DDIM), https://arxiv.org/abs/2010.02502.
    """

    def __init__(
        self,
        *,
        process: Callable[[], GaussianDiffusion] = partial(CosineDiffusion, steps=100),  # noqa: B008
        steps: int = 10,
        eta: float = 0.0,
        limit: float | None = 1.0,
        spacing: Literal["trailing", "leading"] = "trailing",
        ticks: int = TICKS,
    ) -> None:
        super().__init__()
        self.process = process()
        if not 1 <= steps <= self.process.steps:
            raise UserError(f"steps is {steps}; this diffusion has 1 to {self.process.steps}")
        self.steps, self.eta, self.limit = steps, eta, limit
        self.spacing: Literal["trailing", "leading"] = spacing
        self.ticks = ticks

    def example(self, actions: Tensor) -> Example:
        """Returns actions after a random step, and the noise in them."""
        step, noise = self.process.draw(actions)
        x = self.process.add_noise(actions, step, noise).to(actions)
        return Example(x, self._told(step), noise)

    def generate(self, model: Model, noise: Callable[[], Tensor]) -> Tensor:
        """Returns actions, from noise on."""
        start = noise()
        # The sampler asks for noise at every step; without fresh noise only the first is read.
        first = [start]

        def draw() -> Tensor:
            if first:
                return first.pop()
            return noise() if self.eta else torch.zeros_like(start)

        def denoise(x: Tensor, step: Tensor) -> Tensor:
            said = model(x.to(start), self._told(step))
            return self.process.start_of(x, step, said)

        return sample(
            denoise,
            self.process,
            start.shape,
            steps=self.steps,
            eta=self.eta,
            limit=self.limit,
            spacing=self.spacing,
            draw=draw,
            device=start.device,
        ).to(start)

    def _told(self, step: Tensor) -> Tensor:
        return step * (self.ticks / self.process.steps)


class FlowNoising(Noising):
    """Flow matching: the model says the way from noise to actions.

    Args:
        steps: Steps of the sampler.

    Raises:
        UserError: If there are none.

    Source:
        Lipman et al. 2022, https://arxiv.org/abs/2210.02747; for chunks of actions: Black et al. 2024,
        https://arxiv.org/abs/2410.24164.
    """

    def __init__(self, *, steps: int = 10) -> None:
        super().__init__()
        if steps < 1:
            raise UserError(f"steps is {steps}; at least 1 is needed")
        self.steps = steps

    def example(self, actions: Tensor) -> Example:
        """Returns actions at a random time on their way, and the way."""
        time = torch.rand(len(actions), device=actions.device)
        noise = torch.randn_like(actions)
        return Example(on_the_way(actions, time, noise), time * TICKS, actions - noise)

    def generate(self, model: Model, noise: Callable[[], Tensor]) -> Tensor:
        """Returns actions, from noise on."""
        return flow(lambda x, time: model(x, time * TICKS), noise(), steps=self.steps)
