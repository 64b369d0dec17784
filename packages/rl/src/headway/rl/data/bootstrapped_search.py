"""Searches that a trained Searchformer has shortened itself."""

from collections.abc import Sequence

import numpy as np
import torch

from headway.core.cli.progress import with_progress
from headway.core.errors import UserError
from headway.core.training import Passed
from headway.core.weights import from_pretrained
from headway.rl.data.problems import Rows
from headway.rl.data.search import SearchData, SearchOptions
from headway.rl.models.searchformer import SIDE_BY_SIDE, Searchformer
from headway.rl.planning import Problem, Problems, SearchTokens, judge


class BootstrappedSearchData(SearchData):
    """Problems with the shortest search before a shortest way that a Searchformer writes in several tries.

    Where no try has led to a shortest way, or none is shorter, the search of A* stays. Validation and test
    are those of ``SearchData``.

    Args:
        problems: Draws the problems: ``headway.rl.mazes.Mazes`` or ``headway.rl.sokoban.Levels``.
        source: A run, folder or file of a Searchformer, which is fine-tuned with these data (see
            ``headway.rl.models.trained_searchformer``).
        samples: Tries for each problem.
        temperature: Of the tries.
        **search: As of every ``SearchData``: deterministic, reasoning, longest, number, val, test,
            data_seed, batch_size, and of every ``DataModule``.

    Source:
        Lehnert et al. 2024, https://arxiv.org/abs/2402.14083, section 3.3 (search dynamics bootstrapping).
    """

    def __init__(
        self,
        *,
        problems: Problems,
        source: str,
        samples: int = 8,
        temperature: float = 1.0,
        **search: Passed[SearchOptions],
    ) -> None:
        super().__init__(problems=problems, **search)
        if samples < 1 or temperature <= 0:
            raise UserError(
                f"samples is {samples} and temperature {temperature}; at least 1 and more than 0 are needed"
            )
        self.source, self.samples, self.temperature = source, samples, temperature

    def setup(self, stage: str | None = None) -> None:
        """Draws the problems and, for training, writes the searches."""
        if self.parts:
            return
        super().setup(stage)
        if stage != "fit":
            return
        model = from_pretrained(self.source)
        wanted, size = self.problems.problem, self.problems.size
        if not isinstance(model, Searchformer) or model.size != size or model.problem is not wanted:
            raise UserError(
                f"source {self.source} is no Searchformer of {wanted.name[1]} with {size} cells along a side"
            )
        rows = [self.row(problem) for problem in self.parts["train"]]
        traces = shortest_traces(
            model,
            self.parts["train"],
            [trace for _, trace in rows],
            samples=self.samples,
            temperature=self.temperature,
            seed=self.data_seed,
        )
        self.learn(Rows([(row[0], trace) for row, trace in zip(rows, traces, strict=True)]))


def shortest_traces(
    model: Searchformer,
    problems: Sequence[Problem],
    traces: Sequence[list[int]],
    *,
    samples: int,
    temperature: float = 1.0,
    seed: int = 0,
) -> list[list[int]]:
    """Returns for each problem the shortest trace with a shortest way, of several tries and the one given.

    Args:
        model: Writes the tries.
        problems: The problems.
        traces: What is known already, start and end included.
        samples: Tries for each problem.
        temperature: Of the tries.
        seed: Of the tries.
    """
    tokens: SearchTokens = model.tokens
    best = list(traces)
    seeds = np.random.SeedSequence(seed).generate_state(len(problems) * samples).tolist()
    whole = max(1, SIDE_BY_SIDE // samples)
    for at in with_progress(range(0, len(problems), whole), "searching"):
        tried = [
            place for place in range(at, min(at + whole, len(problems))) for _ in range(samples)
        ]
        own = seeds[at * samples : at * samples + len(tried)]
        generators = [torch.Generator().manual_seed(one) for one in own]
        some = [problems[place] for place in tried]
        written = model.write(some, temperature=temperature, generators=generators)
        judged = judge(some, [tokens.read(row) for row in written])
        for place, row, found in zip(tried, written, judged, strict=True):
            if found.optimal and found.length < tokens.read(best[place]).length:
                best[place] = row
    return best
