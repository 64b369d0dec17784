"""Actions of a body: each limb moves its own motors."""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.module import Module
from headway.rl.bodies import Body
from headway.rl.layers.actions.continuous import ContinuousActions
from headway.rl.spaces import Space


class LimbMotors(Module):
    """One linear layer for each limb, which says the actions of that limb alone.

    Args:
        dim: Channels of a token.
        limbs: The limb of each motor.

    Shape:
        x: (..., limbs, dim). Output: (..., motors).
    """

    undecayed: ClassVar[tuple[str, ...]] = ("bias",)
    owner: Tensor

    def __init__(self, dim: int, limbs: list[int]) -> None:
        super().__init__()
        self.limbs = limbs
        self.weight = nn.Parameter(torch.empty(len(limbs), dim))
        self.bias = nn.Parameter(torch.empty(len(limbs)))
        for parameter in (self.weight, self.bias):
            nn.init.uniform_(parameter, -(dim**-0.5), dim**-0.5)
        self.register_constants()

    def constants(self) -> dict[str, Tensor]:
        """Returns the limb of each motor, (motors,)."""
        return {"owner": torch.tensor(self.limbs)}

    def forward(self, x: Tensor) -> Tensor:
        """Returns the actions."""
        return (x[..., self.owner, :] * self.weight).sum(dim=-1) + self.bias


class BodyActions(ContinuousActions):
    """Continuous actions, each said by the limb that it moves.

    Args:
        dim: Channels of a token.
        space: A ``Box``, or how many numbers.
        body: The body; one limb with all motors if None.
        bounded: As of ``ContinuousActions``.
        error: As of ``ContinuousActions``.

    Shape:
        actions: (B, T, *shape). features: (..., limbs, dim).

    Raises:
        UserError: If the body has another number of motors.
    """

    def __init__(
        self,
        dim: int,
        space: Space | int,
        *,
        body: Body | None = None,
        bounded: bool = True,
        error: Literal["squared", "absolute"] = "squared",
    ) -> None:
        super().__init__(dim, space, bounded=bounded, error=error)
        if body is not None and body.motors != self.action_dim:
            raise UserError(
                f"the body has {body.motors} motors, actions have {self.action_dim} numbers; give the body "
                "of this environment"
            )
        owners = [0] * self.action_dim
        for limb, one in enumerate(body.limbs.values() if body is not None else ()):
            for motor in one.motors:
                owners[motor] = limb
        self.head = LimbMotors(dim, owners)
