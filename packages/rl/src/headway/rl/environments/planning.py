"""A planning problem that is acted out."""

from typing import Any, ClassVar

import gymnasium
import numpy as np
from numpy.typing import NDArray

from headway.core.errors import UserError
from headway.rl.planning import MOVES, Node, Problem, Problems, astar


class PlanningWalk(gymnasium.Env[NDArray[np.float32], np.int64]):
    """A problem for each episode; a subclass draws pictures.

    The observation is the planes of the problem. The actions are up, down, left, right; what is in the way
    stops. Where the problem is solved the episode ends with the length of the shortest way divided by the
    steps that were taken: 1 for a shortest way. It is cut off after ``patience * size ** 2`` steps with
    nothing.

    Args:
        problems: Draws the problems.
        render_mode: ``rgb_array`` or None.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 8}  # noqa: RUF012
    patience: ClassVar[int] = 1

    def __init__(self, problems: Problems, *, render_mode: str | None = None) -> None:
        self.problems, self.render_mode = problems, render_mode
        self.size = problems.size
        shape = (problems.problem.planes_seen, self.size, self.size)
        self.observation_space = gymnasium.spaces.Box(0, 1, shape, np.float32)
        self.action_space = gymnasium.spaces.Discrete(len(MOVES))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begins an episode in a new problem, or in ``options["problem"]``.

        Raises:
            UserError: If that one has another size.
        """
        super().reset(seed=seed, options=options)
        given = (options or {}).get("problem")
        if given is None:
            given, plan = self.problems.draw_solved(self.np_random)
        elif given.size != self.size:
            name = given.name[0]
            raise UserError(f"the {name} has {given.size} cells along a side, not {self.size}")
        else:
            plan = astar(given).plan
        self.problem: Problem = given
        self.node: Node = given.beginning
        self.time, self.shortest = 0, len(plan) - 1
        return given.seen(self.node), {"shortest": self.shortest}

    def step(
        self, action: np.int64
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Moves by one cell, if that can be."""
        self.node = self.problem.act(self.node, int(action))
        self.time += 1
        solved = self.problem.solved(self.node)
        reward = self.shortest / self.time if solved else 0.0
        late = not solved and self.time >= self.patience * self.size**2
        return self.problem.seen(self.node), reward, solved, late, {"shortest": self.shortest}


def astar_move(seen: NDArray[np.float32], *, problem: type[Problem]) -> int:
    """Returns what A* does in a problem that is seen as ``PlanningWalk`` shows it; up where all is lost."""
    shown = problem.of_planes(seen)
    try:
        plan = astar(shown).plan
    except UserError:
        return 0
    return shown.actions(plan[:2])[0] if len(plan) > 1 else 0
