"""Problems, searches and plans as tokens."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from headway.core.errors import UserError
from headway.rl.planning.astar import Search, Step
from headway.rl.planning.problem import Problem

PADDING, START, END = range(3)
SPECIALS = ("<pad>", "<bos>", "<eos>")


class Written(NamedTuple):
    """What was read of a written search.

    Args:
        length: Tokens of the search, without the plan.
        plan: Cells of the plan in order; None if what is written is no plan.
    """

    length: int
    plan: list[int] | None


class SearchTokens(ABC):
    """The vocabulary of a Searchformer, with one token for each cell in the place of two coordinates.

    A search is ``create N cG cH`` and ``close N cG cH``, where N is what a node is called, with the cost from
    the beginning and the heuristic, and then ``plan P plan P ...`` with the cells of the agent.

    Args:
        size: Cells along one side.
        costs: How many costs have a token, from 0 on.

    Source:
        Lehnert et al. 2024, https://arxiv.org/abs/2402.14083, figure 1 and appendix A.
    """

    # What is written about.
    problem: ClassVar[type[Problem]]
    # Tokens that are neither cells nor costs; ``create``, ``close`` and ``plan`` among them.
    used: ClassVar[tuple[str, ...]]

    def __init__(self, size: int, *, costs: int) -> None:
        self.size, self.costs = size, costs
        cells = [f"{row},{column}" for row in range(size) for column in range(size)]
        self.vocabulary = (*SPECIALS, *self.used, *cells, *(f"c{cost}" for cost in range(costs)))
        self.words = {word: len(SPECIALS) + place for place, word in enumerate(self.used)}
        self.first_cell = len(SPECIALS) + len(self.used)
        self.first_cost = self.first_cell + size**2

    @abstractmethod
    def prompt(self, problem: Problem) -> list[int]:
        """Returns what the model reads of a problem.

        Raises:
            UserError: If the problem is of another kind or size.
        """

    @abstractmethod
    def node(self, step: Step) -> list[int]:
        """Returns what a node is called."""

    def trace(self, search: Search, *, reasoning: bool = True) -> list[int]:
        """Returns what the model shall write, start and end token included.

        Args:
            search: A search that has found a way.
            reasoning: Whether what the search does stands before its plan.
        """
        tokens = [START]
        for step in search.steps if reasoning else ():
            costs = (self.first_cost + cost for cost in (step.cost, step.heuristic))
            tokens += [self.words[step.action], *self.node(step), *costs]
        for cell in search.plan:
            tokens += [self.words["plan"], self.first_cell + cell]
        return [*tokens, END]

    def has_words_for(self, search: Search) -> bool:
        """Whether all costs of a search have a token."""
        return all(max(step.cost, step.heuristic) < self.costs for step in search.steps)

    def read(self, tokens: Sequence[int]) -> Written:
        """Reads a written search; what follows the first end token is not looked at."""
        body = list(tokens)
        body = body[1 if body[:1] == [START] else 0 :]
        ended = END in body
        body = body[: body.index(END)] if ended else body
        plan = self.words["plan"]
        length = body.index(plan) if plan in body else len(body)
        cells = [token - self.first_cell for token in body[length + 1 :: 2]]
        right = ended and body[length::2] == [plan] * len(cells) and bool(cells)
        right = right and all(0 <= cell < self.size**2 for cell in cells)
        return Written(length, cells if right else None)

    def places(self) -> Iterator[tuple[int, int, int]]:
        """Yields token, row and column of each cell."""
        for cell in range(self.size**2):
            yield self.first_cell + cell, *divmod(cell, self.size)

    def called(self, word: str, cells: Sequence[int]) -> list[int]:
        """Returns a word and a cell for each of the cells."""
        return [token for cell in cells for token in (self.words[word], self.first_cell + cell)]

    def _check(self, problem: Problem) -> None:
        one, many = self.problem.name
        if not isinstance(problem, self.problem):
            raise UserError(f"this is a {problem.name[0]}, the model knows {many}")
        if problem.size != self.size:
            raise UserError(
                f"the {one} has {problem.size} cells along a side, the model knows {many} of {self.size}"
            )
