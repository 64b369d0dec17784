"""Mazes, searches and plans as tokens."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from headway.core.errors import UserError
from headway.rl.mazes.astar import Search
from headway.rl.mazes.maze import Maze

PADDING, START, END = range(3)
SPECIALS = ("<pad>", "<bos>", "<eos>")
WORDS = ("start", "goal", "wall", "create", "close", "plan")


class Written(NamedTuple):
    """What was read of a written search.

    Args:
        length: Tokens of the search, without the plan.
        plan: Cells of the plan in order; None if what is written is no plan.
    """

    length: int
    plan: list[int] | None


class SearchTokens:
    """The vocabulary of Searchformer, with one token for each cell in the place of two coordinates.

    A prompt is ``start S goal G wall W wall W ...``; a search is ``create C cG cH`` and ``close C cG cH``
    with the cost from the start and the heuristic, and then ``plan P plan P ...``.

    Args:
        size: Cells along one side of the mazes.

    Source:
        Lehnert et al. 2024, https://arxiv.org/abs/2402.14083, figure 1 and appendix A.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        cells = [f"{row},{column}" for row in range(size) for column in range(size)]
        costs = [f"c{cost}" for cost in range(size**2)]
        self.vocabulary = (*SPECIALS, *WORDS, *cells, *costs)
        self.words = {word: len(SPECIALS) + place for place, word in enumerate(WORDS)}
        self.first_cell = len(SPECIALS) + len(WORDS)
        self.first_cost = self.first_cell + size**2

    def prompt(self, maze: Maze) -> list[int]:
        """Returns what the model reads of a maze.

        Raises:
            UserError: If the maze has another size, or walls between cells.
        """
        if maze.size != self.size:
            raise UserError(
                f"the maze has {maze.size} cells along a side, the model knows mazes of {self.size}"
            )
        if not maze.scattered:
            raise UserError(
                "the maze has walls between cells, which the prompt has no word for; use kind 'scattered'"
            )
        words, first = self.words, self.first_cell
        tokens = [words["start"], first + maze.start, words["goal"], first + maze.goal]
        for cell in maze.walls.ravel().nonzero()[0].tolist():
            tokens += [words["wall"], first + cell]
        return tokens

    def trace(self, search: Search, *, reasoning: bool = True) -> list[int]:
        """Returns what the model shall write, start and end token included.

        Args:
            search: A search that has found a way.
            reasoning: Whether what the search does stands before its plan.
        """
        tokens = [START]
        for step in search.steps if reasoning else ():
            costs = (self.first_cost + cost for cost in (step.cost, step.heuristic))
            tokens += [self.words[step.action], self.first_cell + step.cell, *costs]
        for cell in search.plan:
            tokens += [self.words["plan"], self.first_cell + cell]
        return [*tokens, END]

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
