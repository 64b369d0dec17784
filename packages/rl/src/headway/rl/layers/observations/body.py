"""Observations of a body: one token for each limb."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.module import Module
from headway.rl.bodies import Body
from headway.rl.layers.observations.base import Observations
from headway.rl.layers.observations.vector import VectorObservations
from headway.rl.spaces import Space


class LimbTokens(Module):
    """One linear layer for each limb, which reads the sensors of that limb alone.

    Args:
        dim: Channels of a token.
        sensors: Places of each limb's sensors.

    Shape:
        x: (..., numbers). Output: (..., limbs, dim).
    """

    undecayed: ClassVar[tuple[str, ...]] = ("bias",)
    places: Tensor
    real: Tensor

    def __init__(self, dim: int, sensors: list[tuple[int, ...]]) -> None:
        super().__init__()
        self.sensors = sensors
        self.width = max(1, *(len(one) for one in sensors))
        self.weight = nn.Parameter(torch.zeros(len(sensors), self.width, dim))
        self.bias = nn.Parameter(torch.zeros(len(sensors), dim))
        with torch.no_grad():
            for limb, one in enumerate(sensors):
                # As a linear layer of so many inputs begins; limbs without sensors are told apart, too.
                bound = max(1, len(one)) ** -0.5
                nn.init.uniform_(self.weight[limb, : len(one)], -bound, bound)
                nn.init.uniform_(self.bias[limb], -bound, bound)
        self.register_constants()

    def constants(self) -> dict[str, Tensor]:
        """Returns the places of sensors, filled up with 0, and which of them are real, (limbs, width)."""
        filled = [(*one, *[0] * (self.width - len(one))) for one in self.sensors]
        real = [[place < len(one) for place in range(self.width)] for one in self.sensors]
        return {"places": torch.tensor(filled), "real": torch.tensor(real)}

    def forward(self, x: Tensor) -> Tensor:
        """Returns the tokens."""
        read = x[..., self.places].masked_fill(~self.real, 0.0)
        return torch.einsum("...lw,lwd->...ld", read, self.weight) + self.bias


class BodyObservations(VectorObservations):
    """Numbers in units of the training data, as one token for each limb of a body.

    Args:
        dim: Channels of a token.
        space: A ``Box`` of one axis.
        body: The body; one limb with all sensors if None.

    Shape:
        Observations: (B, T, numbers). ``tokens``: (B, T, limbs, dim). Output: their sum, (B, T, dim).

    Raises:
        UserError: If the body has sensors beyond the observation.
    """

    def __init__(self, dim: int, space: Space, *, body: Body | None = None) -> None:
        super().__init__(dim, space)
        if body is not None and body.sensors > self.size:
            raise UserError(
                f"the body has sensors up to place {body.sensors - 1}, observations have {self.size} "
                "numbers; give the body of this environment"
            )
        every = [tuple(range(self.size))]
        limbs = every if body is None else [one.sensors for one in body.limbs.values()]
        self.linear = LimbTokens(dim, limbs)

    def tokens(self, observations: Observations) -> Tensor:
        """Returns the token of each limb."""
        assert isinstance(observations, Tensor)
        return self.linear(self.normalise(observations))

    def forward(self, observations: Observations) -> Tensor:
        """Returns the sum of the tokens."""
        return self.tokens(observations).sum(dim=-2)
