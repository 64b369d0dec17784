"""How actions enter a model, come out of it, and are learned."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.module import Module
from headway.rl.layers.streams import Streams
from headway.rl.spaces import Box, Discrete, MultiDiscrete, Space


class ActionHead(Module):
    """Embeds actions, learns them from features, and samples them.

    Actions are those of the environment, in its units and counted from where its choices start: what they
    are inside a model is the head's own affair.

    Args:
        dim: Channels of a token.
        space: What an action is; a number stands for that many numbers or choices, whichever the head knows.

    Raises:
        UserError: If it does not know such actions.
    """

    knows: ClassVar[tuple[type[Any], ...]]

    def __init__(self, dim: int, space: Space | int) -> None:
        super().__init__()
        if isinstance(space, int):
            space = self.space_of(space)
        if not isinstance(space, self.knows):
            known = " or ".join(kind.__name__ for kind in self.knows)
            raise UserError(f"{type(self).__name__} knows actions of {known}, got {space}")
        self.dim, self.space = dim, space

    @classmethod
    def space_of(cls, number: int) -> Space:
        """Returns the space of so many numbers or choices.

        Raises:
            UserError: If there are none.
        """
        if number < 1:
            raise UserError(f"action_dim is {number}; it must be at least 1")
        if Box in cls.knows:
            return Box(shape=(number,))
        if Discrete in cls.knows:
            return Discrete(n=number)
        raise UserError(f"{cls.__name__} needs the space of the actions, not their number")

    @property
    def action_dim(self) -> int:
        """Numbers of a continuous action, how many discrete ones there are, or how many choices at once."""
        if isinstance(self.space, Box):
            return self.space.size
        assert isinstance(self.space, (Discrete, MultiDiscrete))
        return self.space.n if isinstance(self.space, Discrete) else len(self.space.n)

    @abstractmethod
    def embed(self, actions: Tensor) -> Tensor:
        """Returns tokens (B, T, dim) of actions."""

    @abstractmethod
    def predict(self, features: Tensor) -> Tensor:
        """Returns the likeliest actions, or the logits of choices, of features (..., dim)."""

    @abstractmethod
    def loss(self, features: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """Returns the loss of each step, (B, T).

        Args:
            features: What the model knows before each action, (B, T, dim).
            batch: As of ``headway.rl.data.Batch``; the head reads ``actions``, and may read ``mask``.
        """

    @abstractmethod
    def sample(self, features: Tensor, streams: Streams | None = None) -> Tensor:
        """Returns the actions to take.

        Args:
            features: (B, dim).
            streams: Randomness of each row; the likeliest actions if None.
        """

    @abstractmethod
    def blank(self, *shape: int) -> Tensor:
        """Returns actions that stand where none was taken yet."""

    def prepare(self, actions: Tensor) -> None:
        """Takes statistics of the actions of the training data.

        Args:
            actions: Many of them, (N, *one action).
        """

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    def get_classifier(self) -> nn.Module:
        """Returns the layer that answers."""
        return self.get_submodule("head")


ActionFactory = Callable[[int, Any], ActionHead]
