"""The graph genetic algorithm."""

import random
from collections.abc import Sequence
from typing import Any

from headway.core.errors import UserError
from headway.core.systems import system
from headway.molecules.optimization.base import Optimizer, Proposal
from headway.molecules.optimization.graph_moves import cross, mutate
from headway.molecules.scoring import Answer

# A parent without any score may still be chosen.
_LEAST = 1e-10


@system(
    id=None,
    name="Graph GA",
    paper="https://doi.org/10.1039/C8SC05372C",
    claim="children of the better half of a population of molecules are better than those of chance",
    test="packages/molecules/tests/optimization/test_graph_ga.py",
)
class GraphGA(Optimizer):
    """Crosses and changes the graphs of the molecules that have scored best; no model is asked.

    Args:
        start: Molecules to begin with, at least 2.
        population: So many of the best are kept.
        offspring: Children of a step.
        mutation: Share of the children that are changed besides.
        seed: Of all that is drawn.

    Raises:
        UserError: If there is nothing to begin with, or a number is out of range.

    Source:
        Jensen 2019, https://doi.org/10.1039/C8SC05372C; sizes as in PMO (Gao et al. 2022,
        https://arxiv.org/abs/2206.12411).
    """

    def __init__(
        self,
        start: Sequence[str],
        *,
        population: int = 120,
        offspring: int = 70,
        mutation: float = 0.067,
        seed: int = 0,
    ) -> None:
        super().__init__(seed=seed)
        if len(start) < 2 or population < 2 or offspring < 1 or not 0 <= mutation <= 1:
            raise UserError(
                f"there are {len(start)} molecules to begin with (at least 2), population {population} (at "
                f"least 2), offspring {offspring} (at least 1), mutation {mutation} (0 to 1)"
            )
        self.start, self.size, self.offspring, self.mutation = (
            list(start),
            population,
            offspring,
            mutation,
        )
        self.population: dict[str, float] = {}

    def ask(self) -> Proposal:
        """Returns molecules to begin with, then children."""
        source = random.Random(f"{self.seed} {self.step}")
        if not self.population:
            return Proposal(source.sample(self.start, min(self.size, len(self.start))))
        parents = list(self.population)
        weights = [score + _LEAST for score in self.population.values()]
        children: list[str] = []
        for _ in range(self.offspring):
            one, other = source.choices(parents, weights, k=2)
            child = cross(one, other, source)
            if child is not None and source.random() < self.mutation:
                child = mutate(child, source)
            if child is not None:
                children.append(child)
        return Proposal(children)

    def learn(self, answers: Sequence[Answer]) -> None:
        """Keeps the best of parents and children."""
        for one in answers:
            if one.canonical is not None and one.call is not None:
                self.population[one.canonical] = one.score
        best = sorted(self.population.items(), key=lambda item: -item[1])[: self.size]
        self.population = dict(best)

    def state_dict(self) -> dict[str, Any]:
        """Returns what is needed to go on."""
        return {**super().state_dict(), "population": dict(self.population)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a state."""
        super().load_state_dict(state)
        self.population = dict(state["population"])
