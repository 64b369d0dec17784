"""Actions of several numbers."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.rl.layers.actions.base import ActionHead
from headway.rl.layers.streams import Streams
from headway.rl.layers.tokens import bounds_of
from headway.rl.spaces import Box, Space

Scaling = Literal["bounds", "statistics"]


class ScaledActions(ActionHead):
    """What heads of continuous actions share: inside, all numbers have about the size of 1.

    An action is counted from the middle of its bounds in halves of their distance, or from its mean in
    deviations; so actions of any size are learned alike. ``low`` and ``high`` are buffers: -1 and 1 until the
    training data or the space say better; of statistics they are mean minus and plus one deviation.

    Args:
        dim: Channels of a token.
        space: A ``Box``, or how many numbers.
        scaling: By ``bounds`` or by ``statistics``.

    Shape:
        actions: (B, T, *shape).
    """

    knows: ClassVar[tuple[type[Any], ...]] = (Box,)
    low: Tensor
    high: Tensor

    def __init__(self, dim: int, space: Space | int, *, scaling: Scaling = "bounds") -> None:
        super().__init__(dim, space)
        if scaling not in ("bounds", "statistics"):
            raise UserError(f"scaling is {scaling!r}; actions are scaled by bounds or statistics")
        self.scaling = scaling
        self.register_buffer("low", -torch.ones(self.action_dim))
        self.register_buffer("high", torch.ones(self.action_dim))

    @property
    def middle(self) -> Tensor:
        """The middle of the bounds, (action_dim,)."""
        return (self.low + self.high) / 2

    @property
    def half_range(self) -> Tensor:
        """Half of the distance of the bounds, (action_dim,)."""
        return (self.high - self.low) / 2

    def scaled(self, actions: Tensor) -> Tensor:
        """Returns actions of the environment as they are inside, (..., action_dim)."""
        assert isinstance(self.space, Box)
        lead = actions.shape[: actions.ndim - len(self.space.shape)]
        return (actions.reshape(*lead, self.action_dim) - self.middle) / self.half_range

    def unscaled(self, inside: Tensor) -> Tensor:
        """Returns what is inside (..., action_dim) as actions of the environment."""
        assert isinstance(self.space, Box)
        actions = self.middle + self.half_range * inside
        return actions.reshape(*inside.shape[:-1], *self.space.shape)

    def set_bounds(self, low: Tensor, high: Tensor) -> None:
        """Takes the least and the largest value of each number, (action_dim,).

        Raises:
            UserError: If one is not finite, or not below the other.
        """
        if low.shape != self.low.shape or not bool(
            (low < high).all() & (high - low).isfinite().all()
        ):
            raise UserError(
                f"actions between {low.tolist()} and {high.tolist()} are no bounds of {self.action_dim} "
                "numbers"
            )
        self.low.copy_(low)
        self.high.copy_(high)

    def prepare(self, actions: Tensor) -> None:
        """Takes the bounds of the space, or those of the training data with a margin."""
        seen = actions.reshape(len(actions), -1).double()
        if self.scaling == "statistics":
            mean, std = seen.mean(dim=0), seen.std(dim=0, correction=0)
            std = torch.where(std < 1e-6, 1.0, std)
            self.set_bounds((mean - std).float(), (mean + std).float())
            return
        assert isinstance(self.space, Box)
        self.set_bounds(*bounds_of(self.space, seen))

    def blank(self, *shape: int) -> Tensor:
        """Returns zeros."""
        assert isinstance(self.space, Box)
        return self.low.new_zeros(*shape, *self.space.shape)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *args: Any) -> None:
        # Checkpoints from before the bounds were kept have those of -1 and 1.
        state.setdefault(f"{prefix}low", -torch.ones_like(self.low))
        state.setdefault(f"{prefix}high", torch.ones_like(self.high))
        super()._load_from_state_dict(state, prefix, *args)


class ContinuousActions(ScaledActions):
    """Actions of several numbers, learned by their squared or absolute error.

    Args:
        dim: Channels of a token.
        space: A ``Box``, or how many numbers.
        bounded: Whether predictions lie within the bounds, by tanh.
        scaling: By ``bounds`` or by ``statistics``, which are no bounds: it needs ``bounded: false``.
        error: ``squared``, which is least at the mean of what can be done, or ``absolute``, at the median.

    Shape:
        actions: (B, T, *shape). features: (..., dim).

    Source:
        Chen et al. 2021, https://arxiv.org/abs/2106.01345, appendix A.
    """

    def __init__(
        self,
        dim: int,
        space: Space | int,
        *,
        bounded: bool = True,
        scaling: Scaling = "bounds",
        error: Literal["squared", "absolute"] = "squared",
    ) -> None:
        super().__init__(dim, space, scaling=scaling)
        if error not in ("squared", "absolute"):
            raise UserError(f"error is {error!r}; it is squared or absolute")
        self.error = error
        if bounded and scaling == "statistics":
            raise UserError("statistics are no bounds; set bounded to false, or scale by bounds")
        self.bounded = bounded
        self.embedding = nn.Linear(self.action_dim, dim)
        self.head = nn.Linear(dim, self.action_dim)

    def embed(self, actions: Tensor) -> Tensor:
        """Returns the tokens."""
        return self.embedding(self.scaled(actions))

    def predict(self, features: Tensor) -> Tensor:
        """Returns the actions."""
        return self.unscaled(self._inside(features))

    def loss(self, features: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """Returns the mean error of each step, in halves of the distance of the bounds."""
        error = self._inside(features) - self.scaled(batch["actions"])
        return (error.square() if self.error == "squared" else error.abs()).mean(dim=-1)

    def sample(self, features: Tensor, streams: Streams | None = None) -> Tensor:
        """Returns the predictions: there is no distribution to draw from."""
        return self.predict(features)

    def _inside(self, features: Tensor) -> Tensor:
        out = self.head(features)
        return out.tanh() if self.bounded else out
