"""Actions that are choices."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.rl.layers.actions.base import ActionHead
from headway.rl.layers.streams import Streams
from headway.rl.spaces import Discrete, MultiDiscrete, Space, flat_choices


class DiscreteActions(ActionHead):
    """One of several actions, learned by cross-entropy.

    Args:
        dim: Channels of a token.
        space: ``Discrete``, or how many actions there are, counted from 0.

    Shape:
        actions: (B, T) int64, from the start of the space.
    """

    knows: ClassVar[tuple[type[Any], ...]] = (Discrete,)

    def __init__(self, dim: int, space: Space | int) -> None:
        super().__init__(dim, space)
        self.embedding = nn.Linear(self.action_dim, dim)
        self.head = nn.Linear(dim, self.action_dim)

    @property
    def start(self) -> int:
        """The first choice."""
        return flat_choices(self.space)[1][0]

    def embed(self, actions: Tensor) -> Tensor:
        """Returns the tokens."""
        return self.embedding(_one_hot(actions - self.start, self.action_dim).to(self.head.weight))

    def predict(self, features: Tensor) -> Tensor:
        """Returns the logits."""
        return self.head(features)

    def loss(self, features: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """Returns the cross-entropy of each step."""
        logits = self.predict(features).transpose(1, 2)
        return F.cross_entropy(logits, _inside(batch, self.start), reduction="none")

    def sample(self, features: Tensor, streams: Streams | None = None) -> Tensor:
        """Returns the most likely actions, or draws them."""
        return self.start + _draw(self.predict(features), streams)

    def blank(self, *shape: int) -> Tensor:
        """Returns the first action."""
        return torch.full(shape, self.start, dtype=torch.int64, device=self.device)


class MultiDiscreteActions(ActionHead):
    """Several choices at once, each learned by cross-entropy by itself.

    Args:
        dim: Channels of a token.
        space: ``MultiDiscrete``; switches (``MultiBinary``) are such of two choices each.

    Shape:
        actions: (B, T, N) int64, each from its start. Logits: (..., sum of the numbers of choices).
    """

    knows: ClassVar[tuple[type[Any], ...]] = (MultiDiscrete,)

    def __init__(self, dim: int, space: Space | int) -> None:
        super().__init__(dim, space)
        self.numbers, _ = flat_choices(self.space)
        self.embedding = nn.Linear(sum(self.numbers), dim)
        self.head = nn.Linear(dim, sum(self.numbers))

    @property
    def start(self) -> Tensor:
        """The first choice of each, (N,)."""
        return torch.tensor(flat_choices(self.space)[1], device=self.device)

    def embed(self, actions: Tensor) -> Tensor:
        """Returns the tokens."""
        chosen = (actions - self.start).unbind(dim=-1)
        hot = [_one_hot(one, n) for one, n in zip(chosen, self.numbers, strict=True)]
        return self.embedding(torch.cat(hot, dim=-1).to(self.head.weight))

    def predict(self, features: Tensor) -> Tensor:
        """Returns the logits of all choices, one behind the other."""
        return self.head(features)

    def loss(self, features: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """Returns the sum of the cross-entropies of each step."""
        chosen = _inside(batch, self.start).unbind(dim=-1)
        logits = self.predict(features).split(self.numbers, dim=-1)
        losses = [
            F.cross_entropy(one.transpose(1, 2), wanted, reduction="none")
            for one, wanted in zip(logits, chosen, strict=True)
        ]
        return torch.stack(losses).sum(dim=0)

    def sample(self, features: Tensor, streams: Streams | None = None) -> Tensor:
        """Returns the most likely choices, or draws them."""
        logits = self.predict(features).split(self.numbers, dim=-1)
        return self.start + torch.stack([_draw(one, streams) for one in logits], dim=-1)

    def blank(self, *shape: int) -> Tensor:
        """Returns the first choices."""
        return self.start.expand(*shape, -1).clone()


def _one_hot(chosen: Tensor, number: int) -> Tensor:
    # Steps that are padding hold anything.
    return F.one_hot(chosen.clamp(0, number - 1), number)


def _inside(batch: Mapping[str, Any], start: Tensor | int) -> Tensor:
    """Returns the choices of a batch from 0; the first ones where a step is padding."""
    chosen = batch["actions"] - start
    mask = batch.get("mask")
    if mask is None:
        return chosen
    return chosen.masked_fill(~mask.reshape(*mask.shape, *[1] * (chosen.ndim - 2)), 0)


def _draw(logits: Tensor, streams: Streams | None) -> Tensor:
    if streams is None:
        return logits.argmax(dim=-1)
    return streams.choose(logits.softmax(dim=-1))
