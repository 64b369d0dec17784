"""Mazes and ways as tokens: the list of their passages."""

from collections.abc import Callable, Sequence

import numpy as np

from headway.core.errors import UserError
from headway.rl.mazes.maze import Maze
from headway.rl.planning import Problem
from headway.rl.planning.tokens import SPECIALS, Written

MASK = 3
WORDS = (
    "<ADJLIST_START>",
    "<ADJLIST_END>",
    "<ORIGIN_START>",
    "<ORIGIN_END>",
    "<TARGET_START>",
    "<TARGET_END>",
    "<PATH_START>",
    "<PATH_END>",
    ";",
)
# Returns a random order of so many things.
Shuffle = Callable[[int], Sequence[int]]


def shuffled(seed: int) -> Shuffle:
    """Returns what draws orders by a seed."""
    random = np.random.default_rng(seed)
    return lambda many: random.permutation(many).tolist()


class AdjacencyTokens:
    """The vocabulary of maze-dataset: passages, origin, target and path; one token for each cell.

    ``<ADJLIST_START> A B ; C D ; ... <ADJLIST_END> <ORIGIN_START> A <ORIGIN_END> <TARGET_START> D
    <TARGET_END> <PATH_START> A B ... D <PATH_END>``; the ``<-->`` between two cells is left out.

    Args:
        size: Cells along one side of the mazes.

    Source:
        Ivanitskiy et al. 2023, https://arxiv.org/abs/2312.02566, section 2; without ``<-->`` as in Nolte et
        al. 2024, https://arxiv.org/abs/2412.05117 (their code: recipe/datasets/maze.py).
    """

    def __init__(self, size: int) -> None:
        self.size = size
        cells = [f"({row},{column})" for row in range(size) for column in range(size)]
        self.vocabulary = (*SPECIALS, "<mask>", *WORDS, *cells)
        self.words = {word: len(SPECIALS) + 1 + place for place, word in enumerate(WORDS)}
        self.first_cell = len(SPECIALS) + 1 + len(WORDS)
        self.path, self.end = self.words["<PATH_START>"], self.words["<PATH_END>"]

    def longest(self, connections: int) -> int:
        """Returns the most tokens that a maze of so many passages takes, with the longest of ways."""
        return 3 * connections + 9 + self.size**2 + 1

    def prompt(self, problem: Problem, shuffle: Shuffle) -> list[int]:
        """Returns the tokens up to ``<PATH_START>``.

        Args:
            problem: The maze.
            shuffle: Orders the passages, and the two cells of each.

        Raises:
            UserError: If the maze has another size.
        """
        assert isinstance(problem, Maze)
        maze = problem
        if maze.size != self.size:
            raise UserError(
                f"the maze has {maze.size} cells along a side, the model knows mazes of {self.size}"
            )
        words, first = self.words, self.first_cell
        tokens = [words["<ADJLIST_START>"]]
        passages = maze.connections
        for place in shuffle(len(passages)):
            ends = passages[place]
            one, other = (ends[end] for end in shuffle(2))
            tokens += [first + one, first + other, words[";"]]
        tokens.append(words["<ADJLIST_END>"])
        for word, cell in (("ORIGIN", maze.start), ("TARGET", maze.goal)):
            tokens += [words[f"<{word}_START>"], first + cell, words[f"<{word}_END>"]]
        return [*tokens, self.path]

    def way(self, plan: Sequence[int]) -> list[int]:
        """Returns the tokens of a path, its end included."""
        return [*(self.first_cell + cell for cell in plan), self.end]

    def read(self, tokens: Sequence[int]) -> Written:
        """Reads what was written behind ``<PATH_START>``, up to the first ``<PATH_END>``."""
        body = list(tokens)
        if self.end not in body:
            return Written(0, None)
        cells = [token - self.first_cell for token in body[: body.index(self.end)]]
        right = bool(cells) and all(0 <= cell < self.size**2 for cell in cells)
        return Written(0, cells if right else None)
