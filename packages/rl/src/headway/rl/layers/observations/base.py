"""How observations enter a model."""

import itertools
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.module import Module
from headway.rl.spaces import Space

# A tensor, or several by name.
Observations = Tensor | Mapping[str, Tensor]


def each(change: Callable[[Any], Any], values: Any) -> Any:
    """Returns changed observations, or each of several by name."""
    if isinstance(values, Mapping):
        return {name: change(one) for name, one in values.items()}
    return change(values)


def rows_of(observations: Any) -> int:
    """Returns how many rows observations have, or the first of several by name."""
    first = observations
    if isinstance(observations, Mapping):
        first = next(iter(observations.values()))
    return first.shape[0]


class Moments(NamedTuple):
    """Mean and deviation of what was seen in training, each of the shape of an observation."""

    mean: Tensor
    std: Tensor


class ObservationEncoder(Module):
    """Makes one token of an observation; statistics of the training data lie inside.

    Args:
        dim: Channels of a token.
        space: What it reads.

    Shape:
        Observations: (B, T, *shape), or several such by name. Output: (B, T, dim).

    Raises:
        UserError: If it does not read such observations.
    """

    reads: ClassVar[tuple[type[Any], ...]]

    def __init__(self, dim: int, space: Space) -> None:
        super().__init__()
        if not isinstance(space, self.reads):
            raise UserError(f"{type(self).__name__} does not read {space}")
        self.dim, self.space = dim, space

    @abstractmethod
    def forward(self, observations: Observations) -> Tensor:
        """Returns the tokens."""

    def tokens(self, observations: Observations) -> Tensor:
        """Returns one token of each part or more, (B, T, N, dim); of what has no parts, one."""
        return self(observations)[:, :, None]

    @property
    def width(self) -> int:
        """Channels of what ``forward`` says; those of a token, where it makes one."""
        return self.dim

    @property
    def learned_positions(self) -> int:
        """How many of the first tokens of ``tokens`` have no position of their own."""
        return 1

    def fixed_positions(self) -> Tensor | None:
        """Returns the positions of the others, (N, dim); None if there are none."""
        return None

    def set_moments(self, moments: "Moments | Mapping[str, Moments]") -> None:
        """Takes mean and deviation of the training data; those that need none leave them."""

    @property
    def has_moments(self) -> bool:
        """Whether it has the statistics that it needs."""
        return True

    def blank(self, *shape: int) -> Observations:
        """Returns observations of zeros, (*shape, *one observation)."""
        return torch.zeros(*shape, *getattr(self.space, "shape", ()), device=self.device)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(itertools.chain(self.parameters(), self.buffers())).device


ObservationFactory = Callable[[int, Any], ObservationEncoder]
