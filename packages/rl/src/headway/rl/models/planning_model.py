"""Models that write plans."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.rl.models.acting import ActingModel
from headway.rl.models.plan_policy import PlanPolicy
from headway.rl.planning import MOVES, Problem, Written
from headway.rl.spaces import Box, Discrete, Spaces


class PlanningModel(ActingModel):
    """A model that reads a problem as tokens and writes a plan; it acts by planning where an episode begins.

    Args:
        problem: What it plans in, such as ``headway.rl.mazes.Maze``.
        size: Cells along one side of the problems.
        max_length: Most tokens that it writes.
    """

    def __init__(self, *, problem: type[Problem], size: int, max_length: int) -> None:
        super().__init__()
        if size < 2 or max_length < 2:
            raise UserError(
                f"size is {size} and max_length {max_length}; at least 2 are needed of both"
            )
        self.problem, self.size, self.max_length = problem, size, max_length

    @property
    def spaces(self) -> Spaces:
        """The planes of a problem, and four ways to go."""
        shape = (self.problem.planes_seen, self.size, self.size)
        return Spaces(
            observation=Box(shape=shape, low=0.0, high=1.0), action=Discrete(n=len(MOVES))
        )

    @abstractmethod
    def loss(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns ``loss``, a scalar, and further scalars that are worth a line in the log."""

    @abstractmethod
    def search(
        self,
        problems: Sequence[Problem],
        *,
        temperature: float = 0.0,
        generators: Sequence[torch.Generator] | None = None,
    ) -> list[Written]:
        """Returns what it writes for each problem, in evaluation mode.

        Args:
            problems: The problems; the same one several times for several answers.
            temperature: Divides the logits of what is drawn; 0 takes the likeliest token.
            generators: One for each problem, where it is drawn.
        """

    def plan(
        self, problems: Sequence[Problem], generators: Sequence[torch.Generator] | None = None
    ) -> list[list[int] | None]:
        """Returns the cells of a plan for each problem, or None where it has none.

        Args:
            problems: The problems.
            generators: One for each problem, where it is drawn.
        """
        temperature = 0.0 if generators is None else 1.0
        found = self.search(problems, temperature=temperature, generators=generators)
        return [one.plan for one in found]

    def policy(self, *, target_return: Any = 0.0, seed: int = 0) -> PlanPolicy:
        """Returns what plans at the beginning of an episode; the target is not read."""
        return PlanPolicy(self, seed=seed)
