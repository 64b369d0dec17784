"""How actions enter a model, come out of it, and are learned."""

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.module import Module


class ActionSpace(Module):
    """Embeds actions, predicts them, and measures predictions.

    Args:
        dim: Channels of a token.
        action_dim: Numbers of a continuous action, or how many discrete ones there are.
    """

    kind: ClassVar[str]

    def __init__(self, dim: int, action_dim: int) -> None:
        super().__init__()
        if action_dim < 1:
            raise UserError(f"action_dim is {action_dim}; it must be at least 1")
        self.dim, self.action_dim = dim, action_dim
        self.embedding = nn.Linear(action_dim, dim)
        self.head = nn.Linear(dim, action_dim)

    @abstractmethod
    def embed(self, actions: Tensor) -> Tensor:
        """Returns tokens (B, T, dim) of actions."""

    @abstractmethod
    def predict(self, x: Tensor) -> Tensor:
        """Returns actions or logits (B, T, action_dim) of tokens (B, T, dim)."""

    @abstractmethod
    def loss(self, predicted: Tensor, actions: Tensor) -> Tensor:
        """Returns the loss of each step, (B, T)."""

    @abstractmethod
    def choose(
        self, predicted: Tensor, *, deterministic: bool, generator: torch.Generator | None = None
    ) -> Tensor:
        """Returns the actions to take, of predictions (B, action_dim)."""

    @abstractmethod
    def blank(self, *shape: int) -> Tensor:
        """Returns actions that stand where none was taken yet."""

    def set_bounds(self, low: Tensor, high: Tensor) -> None:
        """Takes the least and the largest value of each number of an action, (action_dim,).

        Raises:
            UserError: If these actions have no bounds.
        """
        raise UserError(f"{type(self).__name__} have no bounds")

    def resize(self, action_dim: int) -> None:
        """Starts anew for another number of actions."""
        weight = self.head.weight
        self.action_dim = action_dim
        self.init_args["action_dim"] = action_dim
        self.embedding = nn.Linear(action_dim, self.dim).to(weight)
        self.head = nn.Linear(self.dim, action_dim).to(weight)


class ContinuousActions(ActionSpace):
    """Actions of several numbers, learned by their squared error.

    Inside, an action is counted from the middle of its bounds in halves of their distance, so that actions of
    any size are learned alike; the bounds are buffers, -1 and 1 until ``set_bounds``.

    Args:
        dim: Channels of a token.
        action_dim: Numbers of an action.
        bounded: Whether predictions lie within the bounds, by tanh.

    Shape:
        actions: (B, T, action_dim).

    Source:
        Chen et al. 2021, https://arxiv.org/abs/2106.01345, appendix A.
    """

    kind: ClassVar[str] = "continuous"
    low: Tensor
    high: Tensor

    def __init__(self, dim: int, action_dim: int, *, bounded: bool = True) -> None:
        super().__init__(dim, action_dim)
        self.bounded = bounded
        self.register_buffer("low", -torch.ones(action_dim))
        self.register_buffer("high", torch.ones(action_dim))

    @property
    def middle(self) -> Tensor:
        """The middle of the bounds, (action_dim,)."""
        return (self.low + self.high) / 2

    @property
    def half_range(self) -> Tensor:
        """Half of the distance of the bounds, (action_dim,)."""
        return (self.high - self.low) / 2

    def set_bounds(self, low: Tensor, high: Tensor) -> None:
        """Takes the least and the largest value of each number of an action, (action_dim,).

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

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *args: Any) -> None:
        # Checkpoints from before the bounds were kept have those of -1 and 1.
        state.setdefault(f"{prefix}low", -torch.ones_like(self.low))
        state.setdefault(f"{prefix}high", torch.ones_like(self.high))
        super()._load_from_state_dict(state, prefix, *args)

    def embed(self, actions: Tensor) -> Tensor:
        """Returns the tokens."""
        return self.embedding((actions - self.middle) / self.half_range)

    def predict(self, x: Tensor) -> Tensor:
        """Returns the actions."""
        out = self.head(x)
        return self.middle + self.half_range * (out.tanh() if self.bounded else out)

    def loss(self, predicted: Tensor, actions: Tensor) -> Tensor:
        """Returns the mean squared error of each step, in halves of the distance of the bounds."""
        return ((predicted - actions) / self.half_range).square().mean(dim=-1)

    def resize(self, action_dim: int) -> None:
        """Starts anew for another number of actions, whose bounds are -1 and 1 again."""
        super().resize(action_dim)
        self.low = self.head.weight.new_full((action_dim,), -1.0)
        self.high = self.head.weight.new_ones(action_dim)

    def choose(
        self, predicted: Tensor, *, deterministic: bool, generator: torch.Generator | None = None
    ) -> Tensor:
        """Returns the predictions: there is no distribution to draw from."""
        return predicted

    def blank(self, *shape: int) -> Tensor:
        """Returns zeros."""
        return self.head.weight.new_zeros(*shape, self.action_dim)


class DiscreteActions(ActionSpace):
    """One of several actions, learned by cross-entropy.

    Args:
        dim: Channels of a token.
        action_dim: How many actions there are.

    Shape:
        actions: (B, T) int64.
    """

    kind: ClassVar[str] = "discrete"

    def embed(self, actions: Tensor) -> Tensor:
        """Returns the tokens."""
        chosen = F.one_hot(actions, self.action_dim)
        return self.embedding(chosen.to(self.embedding.weight.dtype))

    def predict(self, x: Tensor) -> Tensor:
        """Returns the logits."""
        return self.head(x)

    def loss(self, predicted: Tensor, actions: Tensor) -> Tensor:
        """Returns the cross-entropy of each step."""
        return F.cross_entropy(predicted.transpose(1, 2), actions, reduction="none")

    def choose(
        self, predicted: Tensor, *, deterministic: bool, generator: torch.Generator | None = None
    ) -> Tensor:
        """Returns the most likely actions, or draws them."""
        if deterministic:
            return predicted.argmax(dim=-1)
        return torch.multinomial(predicted.softmax(dim=-1), 1, generator=generator)[:, 0]

    def blank(self, *shape: int) -> Tensor:
        """Returns zeros."""
        return torch.zeros(*shape, dtype=torch.int64, device=self.head.weight.device)
