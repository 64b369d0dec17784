"""What is simulated: where fields start, which equation they follow, and what is told about it."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.timeseries.fields.simulation.flows import (
    advection_diffusion,
    burgers_plane,
    random_fields,
)

TOGETHER = 16  # items that are solved at once; each batch has the time step of its fastest place


class Trajectories(NamedTuple):
    """Fields over time, (B, T, C, *grid), and the numbers that describe each equation, (B, K)."""

    fields: Tensor
    conditions: Tensor


class Equation(ABC):
    """Draws starts and coefficients, and solves.

    ``channels`` is the number of fields, ``conditions`` how many numbers describe the equation.
    """

    channels: int
    conditions: int

    @abstractmethod
    def simulate(
        self, number: int, grid: tuple[int, ...], times: Tensor, *, seed: int
    ) -> Trajectories:
        """Returns solutions at the times.

        Args:
            number: Solutions.
            grid: Of the fields.
            times: Rising, in the units of the equation.
            seed: Of the draws.
        """


class TracerFlow(Equation):
    """A dye, 0 to 1, carried by a constant wind and spread by diffusion; exact on the periodic square.

    Wind and diffusivity differ from solution to solution, and are what is told.

    Args:
        speed: The wind along each axis lies between minus and plus this, in domains per unit of time.
        diffusivity: Least and largest, drawn evenly in logarithms.
        smoothness: The spectrum of the starts falls with this power of the wave number.

    Raises:
        UserError: If a range is not one.
    """

    channels = 1
    conditions = 3

    def __init__(
        self,
        *,
        speed: float = 1.0,
        diffusivity: Sequence[float] = (5e-4, 5e-3),
        smoothness: float = 2.5,
    ) -> None:
        self.speed, self.smoothness = speed, smoothness
        self.diffusivity = _range("diffusivity", diffusivity)

    def simulate(
        self, number: int, grid: tuple[int, ...], times: Tensor, *, seed: int
    ) -> Trajectories:
        """Returns solutions at the times."""
        # A sigmoid makes patches; what lies between 0 and 1 stays there as far as the grid resolves it.
        starts = torch.sigmoid(
            3 * random_fields(number, grid, smoothness=self.smoothness, seed=seed)
        )
        random = torch.Generator().manual_seed(seed)
        winds = (2 * torch.rand(number, len(grid), generator=random) - 1) * self.speed
        spread = _between(self.diffusivity, torch.rand(number, generator=random))
        fields = [
            advection_diffusion(
                start[None], times, velocity=tuple(wind.tolist()), diffusivity=float(much)
            )
            for start, wind, much in zip(starts, winds, spread, strict=True)
        ]
        told = torch.cat([winds, _placed(self.diffusivity, spread)[:, None]], dim=1)
        return Trajectories(torch.cat(fields)[:, :, None], told)


class BurgersFlow(Equation):
    """Two velocities that carry themselves, steepen and fade: Burgers' equation in the plane.

    The viscosity differs from solution to solution, and is what is told.

    Args:
        viscosity: Least and largest, drawn evenly in logarithms.
        speed: Deviation of the velocities at the start.
        smoothness: The spectrum of the starts falls with this power of the wave number.
        refine: The solver's grid is as many times finer.

    Raises:
        UserError: If a range is not one, or the grid is not refined at least once.
    """

    channels = 2
    conditions = 1

    def __init__(
        self,
        *,
        viscosity: Sequence[float] = (5e-3, 5e-2),
        speed: float = 0.5,
        smoothness: float = 3.0,
        refine: int = 2,
    ) -> None:
        if refine < 1:
            raise UserError(f"refine {refine} must be 1 or more")
        self.viscosity = _range("viscosity", viscosity)
        self.speed, self.smoothness, self.refine = speed, smoothness, refine

    def simulate(
        self, number: int, grid: tuple[int, ...], times: Tensor, *, seed: int
    ) -> Trajectories:
        """Returns solutions at the times."""
        if len(grid) != 2:
            raise UserError(f"BurgersFlow is solved in the plane, got a grid {grid}")
        fine = tuple(self.refine * size for size in grid)
        fields = random_fields(2 * number, fine, smoothness=self.smoothness, seed=seed)
        starts = self.speed * fields.unflatten(0, (number, 2))
        random = torch.Generator().manual_seed(seed)
        nu = _between(self.viscosity, torch.rand(number, generator=random))
        found = [
            burgers_plane(part, times, viscosity=much)[..., :: self.refine, :: self.refine]
            for part, much in zip(starts.split(TOGETHER), nu.split(TOGETHER), strict=True)
        ]
        return Trajectories(torch.cat(found), _placed(self.viscosity, nu)[:, None])


def _range(name: str, given: Sequence[float]) -> tuple[float, float]:
    if len(given) != 2 or not 0 < given[0] <= given[1]:
        raise UserError(f"{name} is a range (least, largest) above 0, got {tuple(given)}")
    return float(given[0]), float(given[1])


def _between(ends: tuple[float, float], share: Tensor) -> Tensor:
    """Returns numbers of a range, evenly in logarithms."""
    least, largest = map(math.log, ends)
    return torch.exp(least + share * (largest - least))


def _placed(ends: tuple[float, float], values: Tensor) -> Tensor:
    """Returns where values lie in their range, -1 to 1 in logarithms."""
    least, largest = map(math.log, ends)
    width = max(largest - least, 1e-12)
    return 2 * (values.log() - least) / width - 1
