"""A level of Sokoban: walls, docks, boxes that can be pushed, and a worker."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from headway.rl.planning.problem import MOVES, Problem, moved

# Cell of the worker, and those of the boxes in order.
Situation = tuple[int, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Level(Problem):
    """Cells in rows, numbered from 0 at the top left; every box shall come to a dock.

    The worker goes up, down, left and right, and pushes a box that is in its way if the cell behind that is
    free; it pushes one box at a time and never pulls.

    Args:
        walls: Which cells are walls, (size, size).
        docks: Numbers of the cells where boxes belong.
        boxes: Numbers of the cells where boxes stand, as many.
        worker: Number of the cell where the worker begins.
    """

    walls: NDArray[np.bool_]
    docks: tuple[int, ...]
    boxes: tuple[int, ...]
    worker: int

    name: ClassVar[tuple[str, str]] = ("Sokoban level", "Sokoban levels")
    # Walls, docks, boxes, worker.
    planes_seen: ClassVar[int] = 4

    @classmethod
    def of_planes(cls, planes: NDArray[np.float32]) -> "Level":
        """Returns the level that an observation shows, begun as it stands.

        Raises:
            UserError: If it shows none.
        """
        walls, docks, boxes, worker = cls._checked(planes)
        belong, stand = (tuple(np.flatnonzero(plane).tolist()) for plane in (docks, boxes))
        return cls(walls, belong, stand, int(worker.argmax()))

    @property
    def size(self) -> int:
        """Cells along one side."""
        return len(self.walls)

    @property
    def beginning(self) -> Situation:
        """The worker and the boxes where they begin."""
        return self.worker, tuple(sorted(self.boxes))

    def following(self, node: Situation) -> list[Situation]:
        """Returns what a step up, down, left or right makes of a situation, where it can be taken."""
        worker, boxes = node
        found = []
        for action, there in enumerate(self._around[worker]):
            if there is None:
                continue
            if there not in boxes:
                found.append((there, boxes))
                continue
            behind = self._around[there][action]
            if behind is not None and behind not in boxes:
                pushed = (behind if box == there else box for box in boxes)
                found.append((there, tuple(sorted(pushed))))
        return found

    def left(self, node: Situation) -> int | None:
        """Returns for each box that is on no dock the rows and columns to the nearest empty one, summed up.

        That is never too much: a push moves one box by one cell, and in some shortest assignment of boxes to
        docks a box that stands on a dock has that one. None if such a box can never be pushed again.
        """
        _, boxes = node
        empty = [dock for dock in self.docks if dock not in boxes]
        loose = [box for box in boxes if box not in self.docks]
        if any(box in self._stuck for box in loose):
            return None
        size = self.size
        return sum(min(_apart(box, dock, size) for dock in empty) for box in loose)

    def solved(self, node: Situation) -> bool:
        """Whether all boxes are on docks."""
        return all(box in self.docks for box in node[1])

    def place(self, node: Situation) -> int:
        """Returns the cell of the worker."""
        return node[0]

    def told(self, node: Situation) -> tuple[int, ...]:
        """Returns the cells of the worker and of the boxes that are on no dock."""
        worker, boxes = node
        return worker, *(box for box in boxes if box not in self.docks)

    def seen(self, node: Situation) -> NDArray[np.float32]:
        """Returns what is seen from outside: walls, docks, boxes, worker."""
        made = np.zeros((self.planes_seen, self.size, self.size), np.float32)
        made[0] = self.walls
        for plane, cells in zip(made[1:], (self.docks, node[1], node[:1]), strict=True):
            plane.flat[list(cells)] = 1
        return made

    @cached_property
    def _around(self) -> list[list[int | None]]:
        """What each move leads to from each cell; None where a wall or the border is."""
        walls = self.walls.ravel().tolist()
        found = []
        for cell in range(self.size**2):
            around = (moved(cell, action, self.size) for action in range(len(MOVES)))
            found.append([None if one is None or walls[one] else one for one in around])
        return found

    @cached_property
    def _stuck(self) -> set[int]:
        """Cells from which walls keep a box from ever being pushed: neither line through them is open."""

        def open_line(around: Sequence[int | None]) -> bool:
            return None not in around

        return {
            cell
            for cell, around in enumerate(self._around)
            if not (open_line(around[:2]) or open_line(around[2:]))
        }


@functools.cache
def _apart(cell: int, other: int, size: int) -> int:
    """Returns the rows and columns between two cells."""
    return sum(abs(a - b) for a, b in zip(divmod(cell, size), divmod(other, size), strict=True))
