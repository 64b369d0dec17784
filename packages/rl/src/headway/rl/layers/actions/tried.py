"""Actions of several numbers that are tried around what is known to be good."""

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.rl.layers.actions.continuous import ContinuousActions
from headway.rl.layers.streams import Streams
from headway.rl.spaces import Space


class TriedActions(ContinuousActions):
    """Bounded actions of several numbers that are drawn around the prediction.

    The weights are those of ``ContinuousActions``.

    Args:
        dim: Channels of a token.
        space: A ``Box``, or how many numbers.
        noise: Deviation of what is drawn, in halves of the distance of the bounds; 0 draws nothing.
    """

    def __init__(self, dim: int, space: Space | int, *, noise: float = 0.1) -> None:
        super().__init__(dim, space)
        if not 0 <= noise < float("inf"):
            raise UserError(f"noise is {noise}; it must be at least 0")
        self.noise = noise

    def sample(self, features: Tensor, streams: Streams | None = None) -> Tensor:
        """Returns actions around the predictions, within the bounds; the predictions without ``streams``."""
        inside = self._inside(features)
        if streams is not None and self.noise:
            drawn = streams.normal(self.action_dim).to(inside)
            inside = torch.clamp(inside + self.noise * drawn, -1.0, 1.0)
        return self.unscaled(inside)

    def inside(self, features: Tensor) -> Tensor:
        """Returns the predictions between -1 and 1, (..., action_dim)."""
        return self._inside(features)
