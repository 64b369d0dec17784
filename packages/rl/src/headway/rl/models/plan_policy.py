"""Acting by a plan that is made where an episode begins."""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from headway.rl.layers.streams import Streams
from headway.rl.mazes import Maze
from headway.rl.models.seeing import as_batch
from headway.rl.spaces import Spaces

if TYPE_CHECKING:
    from headway.rl.models.maze_planner import MazePlanner


@dataclass
class Plans:
    """What each environment still has to do.

    Args:
        actions: Actions left, the next one first.
        streams: Randomness of each environment.
    """

    actions: list[list[int]]
    streams: Streams


class PlanPolicy:
    """Plans once for each episode, all that begin together in one batch, and then follows.

    Where there is no plan, or it leads through a wall, the agent goes up.

    Args:
        model: In evaluation mode.
        seed: Of plans that are drawn, where ``predict`` is given no seeds.
    """

    def __init__(self, model: "MazePlanner", *, seed: int = 0) -> None:
        self.model, self.seed = model, seed

    @property
    def spaces(self) -> Spaces:
        """What the model sees and does."""
        return self.model.spaces

    def predict(
        self,
        observation: Any,
        state: Plans | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
        *,
        seeds: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[Any], Plans]:
        """Returns the actions and what must be given back at the next step; see ``Policy``."""
        found, single = as_batch(observation, self.spaces.observation)
        assert isinstance(found, torch.Tensor)
        if state is None:
            state = Plans([[] for _ in found], Streams.drawn(self.seed, len(found)))
            begins = np.ones(len(found), bool)
        elif episode_start is None:
            begins = np.zeros(len(found), bool)
        else:
            begins = np.atleast_1d(episode_start)
        state.streams.restart(begins, seeds)
        rows = np.flatnonzero(begins).tolist()
        if rows:
            mazes = [Maze.of_planes(found[row].numpy()) for row in rows]
            drawn = None if deterministic else self._generators(state.streams.of(rows))
            for row, maze, plan in zip(rows, mazes, self.model.plan(mazes, drawn), strict=True):
                state.actions[row] = actions_of(maze, plan or [])
        out = np.array([actions.pop(0) if actions else 0 for actions in state.actions])
        return (out[0] if single else out), state

    def observe(self, state: Plans, reward: NDArray[Any] | float) -> None:
        """Does nothing: a plan does not change."""

    def fork(self, state: Plans, rows: NDArray[np.int64]) -> Plans:
        """Returns a copy of a state with the given rows in the given order, which goes its own way."""
        chosen = list(map(int, rows))
        actions = [copy.copy(state.actions[row]) for row in chosen]
        return Plans(actions, state.streams.select(chosen))

    @staticmethod
    def _generators(streams: Streams) -> list[torch.Generator]:
        # Generators of their own: how much is drawn of them depends on when others have finished.
        seeds = (streams.uniform().double() * 2**31).long().tolist()
        return [torch.Generator().manual_seed(seed) for seed in seeds]


def actions_of(maze: Maze, plan: list[int]) -> list[int]:
    """Returns the actions of a plan as far as it leads from the start, cell by cell, through passages."""
    actions, cell = [], maze.start
    for there in plan[1:] if plan[:1] == [maze.start] else []:
        if there not in maze.adjacent[cell]:
            break
        actions.append(maze.action(cell, there))
        cell = there
    return actions
