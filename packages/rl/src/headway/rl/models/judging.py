"""What models share that learn how good actions are: a discount, and copies that follow slowly."""

import copy
from abc import abstractmethod
from typing import TypeVar

from torch import nn

from headway.core.errors import UserError
from headway.rl.batch import Batch

Part = TypeVar("Part", bound=nn.Module)


class Judging:
    """A model whose judgement of what comes next is that of a slow copy of its own judge.

    Attributes:
        discount: Of what comes a step later.
        target_rate: How far the copies move towards what they follow at each step.
    """

    discount: float
    target_rate: float

    def _judge_by(self, *, discount: float, target_rate: float) -> None:
        for name, value in (("discount", discount), ("target_rate", target_rate)):
            if not 0 < value <= 1:
                raise UserError(f"{name} is {value}; it must lie above 0 and be at most 1")
        self.discount, self.target_rate = discount, target_rate

    @abstractmethod
    def followed(self) -> list[tuple[nn.Module, nn.Module]]:
        """Returns the copies, and what they follow."""

    def follow(self) -> None:
        """Moves the copies towards what they follow: after each step of the optimiser."""
        for copied, followed in self.followed():
            for slowly, fast in zip(copied.parameters(), followed.parameters(), strict=True):
                slowly.data.lerp_(fast.data, self.target_rate)


def slow(module: Part) -> Part:
    """Returns a copy that no optimiser moves."""
    return copy.deepcopy(module).requires_grad_(False)


def check_following(model: object, batch: Batch) -> None:
    """Raises ``UserError`` if a batch does not hold what was seen after each action."""
    if "next_observations" not in batch:
        raise UserError(
            f"a batch has no next_observations, which {type(model).__name__} learns from; set the data's "
            "next_observations to true"
        )
