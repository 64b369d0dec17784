"""Searches of A* in mazes."""

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from headway.core.training import Passed
from headway.rl.data.mazes import MazeData, MazeOptions, Rows
from headway.rl.mazes import DENSITY, Maze, Search, astar
from headway.rl.mazes.tokens import PADDING, SearchTokens
from headway.rl.models.search_writer import padded

# A prompt, and what shall be written.
Row = tuple[list[int], list[int]]


class SearchOptions(MazeOptions, total=False):
    """What a ``MazeSearchData`` passes on."""

    size: int
    density: tuple[float, float]
    deterministic: bool
    reasoning: bool
    longest: int


class MazeSearchData(MazeData):
    """Scattered mazes, what A* does in them and the plans that it finds, as tokens.

    Args:
        size: Cells along one side.
        density: Least and largest share of cells that are walls.
        deterministic: Whether ties of A* are broken by the number of the cell; by chance if False.
        reasoning: Whether the search stands before the plan; the plan alone if False.
        longest: Most tokens of search and plan with start and end; mazes that need more are left out, by
            their search, whatever ``reasoning`` says.
        **mazes: As of every ``MazeData``: number, val, test, data_seed, batch_size, and of every
            ``DataModule``.

    Shape:
        A batch is ``prompts`` (B, M) and ``traces`` (B, T), right-padded int64.

    Source:
        Lehnert et al. 2024, https://arxiv.org/abs/2402.14083, section 3.1 and appendix A.2.
    """

    def __init__(
        self,
        *,
        size: int = 10,
        density: tuple[float, float] = DENSITY,
        deterministic: bool = False,
        reasoning: bool = True,
        longest: int = 256,
        **mazes: Passed[MazeOptions],
    ) -> None:
        super().__init__(size=size, kind="scattered", density=density, **mazes)
        self.deterministic, self.reasoning, self.longest = deterministic, reasoning, longest
        self.tokens = SearchTokens(size)
        self._random = np.random.default_rng([self.data_seed, 1])
        self._searches: dict[int, Search] = {}

    def fits(self, maze: Maze) -> bool:
        """Whether search and plan are short enough."""
        search = astar(maze, None if self.deterministic else self._random)
        short = len(self.tokens.trace(search)) <= self.longest
        if short:
            self._searches[id(maze)] = search
        return short

    def items(self, part: str) -> Dataset[Row]:
        """Returns prompts and traces."""
        return Rows([self.row(maze) for maze in self.parts[part]])

    def row(self, maze: Maze) -> Row:
        """Returns the prompt of a maze of the data and its trace."""
        trace = self.tokens.trace(self._searches[id(maze)], reasoning=self.reasoning)
        return self.tokens.prompt(maze), trace

    def tokens_of(self, item: Row) -> int:
        """Returns the length of a trace."""
        return len(item[1])

    @staticmethod
    def collate(items: list[Row]) -> dict[str, Tensor]:
        """Makes a batch."""
        prompts, traces = zip(*items, strict=True)
        return {
            "prompts": padded(list(prompts), PADDING),
            "traces": padded(list(traces), PADDING),
        }
