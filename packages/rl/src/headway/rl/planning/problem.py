"""A planning problem on a square grid: what a search, a checker of plans and an agent ask about it."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import UserError

# Up, down, left, right, as (row, column).
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))
# A situation that a search tells from others; it can be hashed and compared with its like.
Node = Any


class Problem(ABC):
    """An agent on a square of cells, numbered row by row from 0, that goes up, down, left and right.

    A plan is the cells where the agent is, the first one included. An observation is planes of 0 and 1.
    """

    # How it is called, one and many.
    name: ClassVar[tuple[str, str]]
    # Planes of an observation.
    planes_seen: ClassVar[int]

    @property
    @abstractmethod
    def size(self) -> int:
        """Cells along one side."""

    @property
    @abstractmethod
    def beginning(self) -> Node:
        """Where a search begins."""

    @abstractmethod
    def following(self, node: Node) -> Sequence[Node]:
        """Returns the nodes a step away, in the order of ``MOVES``."""

    @abstractmethod
    def left(self, node: Node) -> int | None:
        """Returns at least how many steps are left, never too many; None where all is lost."""

    @abstractmethod
    def solved(self, node: Node) -> bool:
        """Whether a node is the end of a plan."""

    @abstractmethod
    def place(self, node: Node) -> int:
        """Returns the cell of the agent."""

    @abstractmethod
    def told(self, node: Node) -> tuple[int, ...]:
        """Returns the cells that a node is told by: that of the agent, and others that say what has moved."""

    @abstractmethod
    def seen(self, node: Node) -> NDArray[np.float32]:
        """Returns the observation of a node, (planes_seen, size, size)."""

    @classmethod
    @abstractmethod
    def of_planes(cls, planes: NDArray[np.float32]) -> Self:
        """Returns the problem that an observation shows, begun where the agent stands.

        Raises:
            UserError: If it shows none.
        """

    def act(self, node: Node, action: int) -> Node:
        """Returns the node that an action leads to: the same one where the way is blocked."""
        there = moved(self.place(node), action, self.size)
        return next((one for one in self.following(node) if self.place(one) == there), node)

    def leads(self, plan: Sequence[int]) -> bool:
        """Whether a plan begins where the agent is, takes steps that can be taken alone, and solves it."""
        if not plan or plan[0] != self.place(self.beginning):
            return False
        nodes = self._along(plan)
        return len(nodes) == len(plan) and self.solved(nodes[-1])

    def actions(self, plan: Sequence[int]) -> list[int]:
        """Returns the actions of a plan as far as it leads from where the agent is."""
        places = [self.place(node) for node in self._along(plan)]
        return [
            next(a for a in range(len(MOVES)) if moved(one, a, self.size) == other)
            for one, other in pairwise(places)
        ]

    def _along(self, plan: Sequence[int]) -> list[Node]:
        if not plan or plan[0] != self.place(self.beginning):
            return []
        nodes = [self.beginning]
        for there in plan[1:]:
            found = [one for one in self.following(nodes[-1]) if self.place(one) == there]
            if not found:
                break
            nodes += found
        return nodes

    @classmethod
    def _checked(cls, planes: NDArray[np.float32]) -> NDArray[np.bool_]:
        if planes.ndim != 3 or planes.shape[0] != cls.planes_seen or len({*planes.shape[1:]}) > 1:
            raise UserError(
                f"an observation of a {cls.name[0]} has the shape ({cls.planes_seen}, size, size), got "
                f"{planes.shape}"
            )
        return planes > 0.5


@functools.cache
def moved(cell: int, action: int, size: int) -> int | None:
    """Returns the cell that an action leads to, whatever is there; None beyond the border."""
    row, column = (a + b for a, b in zip(divmod(cell, size), MOVES[action], strict=True))
    return row * size + column if 0 <= row < size and 0 <= column < size else None
