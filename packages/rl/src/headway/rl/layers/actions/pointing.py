"""Actions that point at a token."""

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.rl.layers.actions.discrete import DiscreteActions
from headway.rl.spaces import Space


class PointingActions(DiscreteActions):
    """One of several things done to one of several objects: each token says the logits of its own.

    Action ``ways * i + w`` does thing w to object i.

    Args:
        dim: Channels of a token.
        space: ``Discrete``, or how many actions there are.
        ways: What can be done to an object.

    Shape:
        actions: (B, T) int64. features: (..., objects, dim). Logits: (..., objects * ways).

    Raises:
        UserError: If the actions cannot be shared out among objects.
    """

    def __init__(self, dim: int, space: Space | int, *, ways: int = 1) -> None:
        super().__init__(dim, space)
        if ways < 1 or self.action_dim % ways:
            raise UserError(
                f"{self.action_dim} actions are no {ways} for each object; set ways to a divisor"
            )
        self.ways = ways
        self.head = nn.Linear(dim, ways)

    def predict(self, features: Tensor) -> Tensor:
        """Returns the logits."""
        return self.head(features).flatten(-2)
