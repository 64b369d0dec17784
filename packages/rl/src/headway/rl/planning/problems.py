"""A kind of problems that are drawn at random."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from headway.core.errors import UserError
from headway.rl.planning.astar import astar
from headway.rl.planning.problem import Problem
from headway.rl.planning.tokens import SearchTokens


class Problems(ABC):
    """Draws problems of one kind and size, and tells which of them are the same.

    Args:
        size: Cells along one side.
    """

    # What is drawn.
    problem: ClassVar[type[Problem]]
    # Whether all that is drawn has a solution.
    always_solved: ClassVar[bool]

    def __init__(self, *, size: int) -> None:
        self.size = size

    @abstractmethod
    def tokens(self) -> SearchTokens:
        """Returns the vocabulary that searches are written in."""

    @abstractmethod
    def draw(self, random: np.random.Generator) -> Problem:
        """Returns a problem."""

    def draw_solved(self, random: np.random.Generator) -> tuple[Problem, list[int]]:
        """Returns a problem that has a solution, and a shortest plan."""
        while True:
            problem = self.draw(random)
            try:
                return problem, astar(problem).plan
            except UserError:
                if self.always_solved:
                    raise

    def __eq__(self, other: Any) -> bool:
        """Whether the same is drawn."""
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).items()))

    @abstractmethod
    def signature(self, problem: Problem) -> bytes:
        """Returns what the copies of a problem that shall not be in several parts have in common."""
