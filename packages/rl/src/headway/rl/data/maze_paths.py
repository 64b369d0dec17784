"""Paths through mazes that are lists of passages."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from headway.core.training import Passed
from headway.rl.data.problems import ProblemData, ProblemOptions
from headway.rl.mazes import Maze, Mazes
from headway.rl.mazes.adjacency import AdjacencyTokens
from headway.rl.models.search_writer import padded
from headway.rl.planning import PADDING, astar


class MazePathData(ProblemData):
    """Perfect mazes as lists of passages, with the one way from origin to target.

    The order of the passages, and of the two cells of each, is drawn anew in every epoch.

    Args:
        size: Cells along one side.
        **mazes: As of every ``ProblemData``: number, val, test, data_seed, batch_size, and of every
            ``DataModule``.

    Shape:
        A batch is ``tokens`` (B, T), right-padded int64.

    Source:
        Ivanitskiy et al. 2023, https://arxiv.org/abs/2312.02566, section 2.
    """

    def __init__(self, *, size: int = 6, **mazes: Passed[ProblemOptions]) -> None:
        # Perfect mazes have no cells that are walls, so there is no density to choose.
        super().__init__(problems=Mazes(size=size, kind="perfect"), **mazes)
        self.tokens = AdjacencyTokens(size)

    def items(self, part: str) -> Dataset[list[int]]:
        """Returns mazes with their ways."""
        return Paths(self.parts[part], self.tokens)

    def tokens_of(self, item: list[int]) -> int:
        """Returns the length of an item."""
        return len(item)

    @staticmethod
    def collate(items: list[list[int]]) -> dict[str, Tensor]:
        """Makes a batch."""
        return {"tokens": padded(items, PADDING)}


class Paths(Dataset[list[int]]):
    """Mazes as tokens, shuffled whenever they are looked at.

    Args:
        mazes: The mazes.
        tokens: Their vocabulary.
    """

    def __init__(self, mazes: Sequence[Maze], tokens: AdjacencyTokens) -> None:
        self.mazes, self.tokens = mazes, tokens
        self.ways = [tokens.way(astar(maze).plan) for maze in mazes]

    def __len__(self) -> int:
        return len(self.mazes)

    def __getitem__(self, index: int) -> list[int]:
        # torch's own generator, which the loader seeds by epoch and index.
        prompt = self.tokens.prompt(self.mazes[index], lambda many: torch.randperm(many).tolist())
        return prompt + self.ways[index]
