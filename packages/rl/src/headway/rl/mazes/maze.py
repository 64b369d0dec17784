"""A maze: cells of a square, passages between neighbours, a start and a goal."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import UserError

# Up, down, left, right, as (row, column).
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))
# Planes of an observation: floor, passages down and right, agent, goal.
PLANES = 5


@dataclass(frozen=True, eq=False)
class Maze:
    """Cells in rows, numbered from 0 at the top left; a cell without a passage is a wall.

    Args:
        down: Whether one can go from each cell to the one below, (size, size); False in the last row.
        right: Whether one can go from each cell to the one on its right; False in the last column.
        start: Number of the cell where the agent begins.
        goal: Number of the cell that it should reach.
    """

    down: NDArray[np.bool_]
    right: NDArray[np.bool_]
    start: int
    goal: int

    @classmethod
    def of_walls(cls, walls: NDArray[np.bool_], start: int, goal: int) -> "Maze":
        """Returns the maze in which all neighbours that are no walls are connected."""
        free = ~walls
        down, right = np.zeros_like(free), np.zeros_like(free)
        down[:-1] = free[:-1] & free[1:]
        right[:, :-1] = free[:, :-1] & free[:, 1:]
        return cls(down, right, start, goal)

    @classmethod
    def of_planes(cls, planes: NDArray[np.float32]) -> "Maze":
        """Returns the maze that an observation shows, begun where the agent stands.

        Raises:
            UserError: If it shows none.
        """
        if planes.ndim != 3 or planes.shape[0] != PLANES or planes.shape[1] != planes.shape[2]:
            raise UserError(
                f"an observation of a maze has the shape ({PLANES}, size, size), got {planes.shape}"
            )
        seen = planes > 0.5
        agent, goal = (int(plane.argmax()) for plane in seen[3:])
        return cls(seen[1], seen[2], agent, goal)

    @property
    def size(self) -> int:
        """Cells along one side."""
        return len(self.down)

    @cached_property
    def walls(self) -> NDArray[np.bool_]:
        """Which cells have no passage, (size, size)."""
        open_cells = self.down | self.right
        open_cells[1:] |= self.down[:-1]
        open_cells[:, 1:] |= self.right[:, :-1]
        return ~open_cells

    @cached_property
    def adjacent(self) -> list[list[int]]:
        """The cells that one can go to from each cell: up, down, left, right."""
        found: list[list[int]] = [[] for _ in range(self.size**2)]
        for move in range(len(MOVES)):
            for cell, there in self._passages(move):
                found[cell].append(there)
        return found

    def _passages(self, move: int) -> list[tuple[int, int]]:
        table, step = (self.down, self.size) if move < 2 else (self.right, 1)
        cells = np.flatnonzero(table).tolist()
        # Up and left are the passages down and right, seen from their other ends.
        return [(c + step, c) for c in cells] if move % 2 == 0 else [(c, c + step) for c in cells]

    @property
    def scattered(self) -> bool:
        """Whether walls are cells: all other neighbours are connected."""
        whole = Maze.of_walls(self.walls, self.start, self.goal)
        return bool((whole.down == self.down).all() and (whole.right == self.right).all())

    @property
    def connections(self) -> list[tuple[int, int]]:
        """The passages, each once, the smaller cell first."""
        return sorted(self._passages(1) + self._passages(3))

    @property
    def picture(self) -> NDArray[np.bool_]:
        """Cells and what lies between them, (2 size - 1, 2 size - 1), True where one can be."""
        made = np.zeros((2 * self.size - 1,) * 2, bool)
        made[::2, ::2] = ~self.walls
        made[1::2, ::2] = self.down[:-1]
        made[::2, 1::2] = self.right[:, :-1]
        return made

    def move(self, cell: int, action: int) -> int:
        """Returns where an action leads; walls stop."""
        row, column = MOVES[action]
        there = cell + row * self.size + column
        return there if there in self.adjacent[cell] else cell

    def action(self, cell: int, there: int) -> int:
        """Returns the action that leads from a cell to a neighbour."""
        row, column = divmod(cell, self.size)
        other = divmod(there, self.size)
        return MOVES.index((other[0] - row, other[1] - column))

    def planes(self, agent: int) -> NDArray[np.float32]:
        """Returns what is seen from outside: floor, passages down and right, agent, goal."""
        made = np.zeros((PLANES, self.size, self.size), np.float32)
        made[0], made[1], made[2] = ~self.walls, self.down, self.right
        made[3].flat[agent] = made[4].flat[self.goal] = 1
        return made

    def leads(self, plan: list[int]) -> bool:
        """Whether a plan goes from start to goal, cell by cell, through passages alone."""
        if not plan or plan[0] != self.start or plan[-1] != self.goal:
            return False
        adjacent, cells = self.adjacent, range(self.size**2)
        return all(a in cells and b in adjacent[a] for a, b in pairwise(plan))
