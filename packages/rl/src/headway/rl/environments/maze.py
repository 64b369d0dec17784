"""A maze that is seen from above."""

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from headway.core.errors import UserError
from headway.rl.mazes import DENSITY, MOVES, Maze, astar, draw_maze
from headway.rl.mazes.drawing import Kind, check_kind
from headway.rl.mazes.maze import PLANES

CELL = 24
# Floor, wall, goal, agent.
COLOURS = ((235, 235, 235), (60, 60, 60), (30, 140, 60), (40, 80, 200))


class MazeWalk(gymnasium.Env[NDArray[np.float32], np.int64]):
    """A walk from the start of a maze to its goal; each episode has a maze of its own.

    The observation has five planes of ``size`` x ``size`` numbers, 0 or 1: where floor is, from where one
    can go down, from where one can go right, the agent, the goal. The actions are up, down, left, right;
    walls stop. At the goal the episode ends with the length of the shortest way divided by the steps that
    were taken: 1 for a shortest way. It is cut off after ``size ** 2`` steps with nothing.

    Args:
        size: Cells along one side.
        kind: ``scattered`` (single cells are walls) or ``perfect`` (walls stand between cells, one way leads
            from any cell to any other).
        density: Least and largest share of walls of scattered mazes.
        render_mode: ``rgb_array`` or None.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 8}  # noqa: RUF012

    def __init__(
        self,
        *,
        size: int = 10,
        kind: Kind = "scattered",
        density: tuple[float, float] = DENSITY,
        render_mode: str | None = None,
    ) -> None:
        check_kind(size, kind, density)
        self.size, self.density, self.render_mode = size, density, render_mode
        self.kind: Kind = kind
        self.observation_space = gymnasium.spaces.Box(0, 1, (PLANES, size, size), np.float32)
        self.action_space = gymnasium.spaces.Discrete(len(MOVES))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begins an episode in a new maze, or in ``options["maze"]``.

        Raises:
            UserError: If that one has another size.
        """
        super().reset(seed=seed, options=options)
        given = (options or {}).get("maze")
        if given is not None and given.size != self.size:
            raise UserError(f"the maze has {given.size} cells along a side, not {self.size}")
        drawn = given or draw_maze(self.size, self.np_random, kind=self.kind, density=self.density)
        self.maze: Maze = drawn
        self.agent, self.time = drawn.start, 0
        self.shortest = len(astar(drawn).plan) - 1
        return drawn.planes(self.agent), {"shortest": self.shortest}

    def step(
        self, action: np.int64
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Moves by one cell; walls stop."""
        self.agent = self.maze.move(self.agent, int(action))
        self.time += 1
        arrived = self.agent == self.maze.goal
        reward = self.shortest / self.time if arrived else 0.0
        late = not arrived and self.time >= self.size**2
        return self.maze.planes(self.agent), reward, arrived, late, {"shortest": self.shortest}

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Returns a picture of the maze: the goal is green, the agent blue."""
        if self.render_mode != "rgb_array":
            return None
        lattice = np.pad(np.where(self.maze.picture, 0, 1), 1, constant_values=1)
        for place, colour in ((self.maze.goal, 2), (self.agent, 3)):
            row, column = divmod(place, self.size)
            lattice[2 * row + 1, 2 * column + 1] = colour
        # Cells are wide, what stands between them is narrow.
        widths = np.where(np.arange(2 * self.size + 1) % 2, CELL, 4)
        wide = np.repeat(np.repeat(lattice, widths, axis=0), widths, axis=1)
        return np.array(COLOURS, np.uint8)[wide]


def astar_move(seen: NDArray[np.float32]) -> int:
    """Returns what A* does in a maze that is seen as ``MazeWalk`` shows it."""
    maze = Maze.of_planes(seen)
    plan = astar(maze).plan
    return maze.action(*plan[:2]) if len(plan) > 1 else 0
