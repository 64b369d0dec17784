"""A maze that is seen from above."""

import numpy as np
from numpy.typing import NDArray

from headway.rl.environments.planning import PlanningWalk
from headway.rl.mazes import DENSITY, Maze, Mazes
from headway.rl.mazes.drawing import Kind

CELL = 24
# Floor, wall, goal, agent.
COLOURS = ((235, 235, 235), (60, 60, 60), (30, 140, 60), (40, 80, 200))


class MazeWalk(PlanningWalk):
    """A walk from the start of a maze to its goal; each episode has a maze of its own.

    The observation has five planes of ``size`` x ``size`` numbers, 0 or 1: where floor is, from where one
    can go down, from where one can go right, the agent, the goal. Walls stop. See ``PlanningWalk``.

    Args:
        size: Cells along one side.
        kind: ``scattered`` (single cells are walls) or ``perfect`` (walls stand between cells, one way leads
            from any cell to any other).
        density: Least and largest share of walls of scattered mazes.
        render_mode: ``rgb_array`` or None.
    """

    def __init__(
        self,
        *,
        size: int = 10,
        kind: Kind = "scattered",
        density: tuple[float, float] = DENSITY,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(Mazes(size=size, kind=kind, density=density), render_mode=render_mode)

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Returns a picture of the maze: the goal is green, the agent blue."""
        if self.render_mode != "rgb_array":
            return None
        assert isinstance(self.problem, Maze)
        lattice = np.pad(np.where(self.problem.picture, 0, 1), 1, constant_values=1)
        for place, colour in ((self.problem.goal, 2), (self.problem.place(self.node), 3)):
            row, column = divmod(place, self.size)
            lattice[2 * row + 1, 2 * column + 1] = colour
        # Cells are wide, what stands between them is narrow.
        widths = np.where(np.arange(2 * self.size + 1) % 2, CELL, 4)
        wide = np.repeat(np.repeat(lattice, widths, axis=0), widths, axis=1)
        return np.array(COLOURS, np.uint8)[wide]
