"""A maze: cells of a square, passages between neighbours, a start and a goal."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from headway.rl.planning.problem import MOVES, Problem


@dataclass(frozen=True, eq=False)
class Maze(Problem):
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

    name: ClassVar[tuple[str, str]] = ("maze", "mazes")
    # Floor, passages down and right, agent, goal.
    planes_seen: ClassVar[int] = 5

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
        seen = cls._checked(planes)
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

    @property
    def beginning(self) -> int:
        """The start."""
        return self.start

    def following(self, node: int) -> list[int]:
        """Returns the cells that one can go to."""
        return self.adjacent[node]

    def left(self, node: int) -> int:
        """Returns rows plus columns to the goal."""
        row, column = divmod(node, self.size)
        other = divmod(self.goal, self.size)
        return abs(row - other[0]) + abs(column - other[1])

    def solved(self, node: int) -> bool:
        """Whether a cell is the goal."""
        return node == self.goal

    def place(self, node: int) -> int:
        """Returns the cell itself."""
        return node

    def told(self, node: int) -> tuple[int, ...]:
        """Returns the cell itself."""
        return (node,)

    def seen(self, node: int) -> NDArray[np.float32]:
        """Returns what is seen from outside: floor, passages down and right, agent, goal."""
        made = np.zeros((self.planes_seen, self.size, self.size), np.float32)
        made[0], made[1], made[2] = ~self.walls, self.down, self.right
        made[3].flat[node] = made[4].flat[self.goal] = 1
        return made
