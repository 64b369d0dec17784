"""Searches of A* in planning problems."""

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from headway.core.errors import UserError
from headway.core.training import Passed
from headway.rl.data.problems import ProblemData, ProblemOptions, Rows
from headway.rl.models.search_writer import padded
from headway.rl.planning import PADDING, Problem, Problems, Search, SearchTokens, astar

# A prompt, and what shall be written.
Row = tuple[list[int], list[int]]
# A step of a search has at least a word, a cell and two costs.
LEAST = 4


class SearchOptions(ProblemOptions, total=False):
    """What a ``SearchData`` passes on."""

    deterministic: bool
    reasoning: bool
    longest: int


class SearchData(ProblemData):
    """Problems, what A* does in them and the plans that it finds, as tokens.

    Args:
        problems: Draws the problems, such as ``headway.rl.mazes.Mazes``.
        deterministic: Whether ties of A* are broken by the order of cells; by chance if False.
        reasoning: Whether the search stands before the plan; the plan alone if False.
        longest: Most tokens of search and plan with start and end; problems that need more are left out, by
            their search, whatever ``reasoning`` says.
        **problem_data: As of every ``ProblemData``: number, val, test, data_seed, batch_size, and of every
            ``DataModule``.

    Shape:
        A batch is ``prompts`` (B, M) and ``traces`` (B, T), right-padded int64.

    Source:
        Lehnert et al. 2024, https://arxiv.org/abs/2402.14083, section 3.1 and appendix A.2.
    """

    def __init__(
        self,
        *,
        problems: Problems,
        deterministic: bool = False,
        reasoning: bool = True,
        longest: int = 256,
        **problem_data: Passed[ProblemOptions],
    ) -> None:
        super().__init__(problems=problems, **problem_data)
        self.deterministic, self.reasoning, self.longest = deterministic, reasoning, longest
        self.tokens: SearchTokens = problems.tokens()
        self._random = np.random.default_rng([self.data_seed, 1])
        self._searches: dict[int, Search] = {}

    def fits(self, problem: Problem) -> bool:
        """Whether search and plan are short enough, and there are such."""
        # A search that may be in vain need not go on beyond what is taken.
        most = None if self.problems.always_solved else self.longest // LEAST
        try:
            search = astar(problem, None if self.deterministic else self._random, most=most)
        except UserError:
            return False
        taken = self.tokens.has_words_for(search)
        taken = taken and len(self.tokens.trace(search)) <= self.longest
        if taken:
            self._searches[id(problem)] = search
        return taken

    def items(self, part: str) -> Dataset[Row]:
        """Returns prompts and traces."""
        return Rows([self.row(problem) for problem in self.parts[part]])

    def row(self, problem: Problem) -> Row:
        """Returns the prompt of a problem of the data and its trace."""
        trace = self.tokens.trace(self._searches[id(problem)], reasoning=self.reasoning)
        return self.tokens.prompt(problem), trace

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
