"""Acting by a plan that is made where an episode begins."""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from headway.rl.layers.observations import Observations
from headway.rl.layers.streams import Streams
from headway.rl.models.model_policy import ModelPolicy

if TYPE_CHECKING:
    from headway.rl.models.planning_model import PlanningModel


@dataclass
class Plans:
    """What each environment still has to do.

    Args:
        actions: Actions left, the next one first.
        streams: Randomness of each environment.
    """

    actions: list[list[int]]
    streams: Streams


class PlanPolicy(ModelPolicy[Plans]):
    """Plans once for each episode, all that begin together in one batch, and then follows.

    Where there is no plan, or it leads no further, the agent goes up.

    Args:
        model: In evaluation mode.
        seed: Of plans that are drawn, where ``predict`` is given no seeds.
    """

    model: "PlanningModel"

    def fork(self, state: Plans, rows: NDArray[np.int64]) -> Plans:
        """Returns a copy of a state with the given rows in the given order, which goes its own way."""
        chosen = list(map(int, rows))
        actions = [copy.copy(state.actions[row]) for row in chosen]
        return Plans(actions, state.streams.select(chosen))

    def _begin(self, batch: int) -> Plans:
        return Plans([[] for _ in range(batch)], Streams.drawn(self.seed, batch))

    def _restart(
        self, state: Plans, starts: NDArray[np.bool_], seeds: NDArray[np.int64] | None
    ) -> None:
        state.streams.restart(starts, seeds)

    def _act(
        self, state: Plans, seen: Observations, starts: NDArray[np.bool_], deterministic: bool
    ) -> torch.Tensor:
        assert isinstance(seen, torch.Tensor)
        rows = np.flatnonzero(starts).tolist()
        if rows:
            kind = self.model.problem
            problems = [kind.of_planes(seen[row].cpu().numpy()) for row in rows]
            drawn = None if deterministic else self._generators(state.streams.of(rows))
            plans = self.model.plan(problems, drawn)
            for row, problem, plan in zip(rows, problems, plans, strict=True):
                state.actions[row] = problem.actions(plan or [])
        return torch.tensor([actions.pop(0) if actions else 0 for actions in state.actions])

    @staticmethod
    def _generators(streams: Streams) -> list[torch.Generator]:
        # Generators of their own: how much is drawn of them depends on when others have finished.
        seeds = (streams.uniform().double() * 2**31).long().tolist()
        return [torch.Generator().manual_seed(seed) for seed in seeds]
