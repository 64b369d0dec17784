"""Mazes of one kind."""

from typing import ClassVar

import numpy as np

from headway.rl.mazes.drawing import DENSITY, Kind, check_kind, draw_maze
from headway.rl.mazes.maze import Maze
from headway.rl.mazes.symmetry import signature
from headway.rl.mazes.tokens import MazeTokens
from headway.rl.planning import Problem, Problems, SearchTokens


class Mazes(Problems):
    """Mazes of either kind; two with the same walls, in any symmetric copy, are the same.

    Args:
        size: Cells along one side.
        kind: ``scattered`` or ``perfect``.
        density: Least and largest share of walls of scattered mazes.
    """

    problem: ClassVar[type[Problem]] = Maze
    always_solved: ClassVar[bool] = True

    def __init__(
        self,
        *,
        size: int = 10,
        kind: Kind = "scattered",
        density: tuple[float, float] = DENSITY,
    ) -> None:
        check_kind(size, kind, density)
        super().__init__(size=size)
        self.kind: Kind = kind
        # Perfect mazes have no cells that are walls.
        self.density = DENSITY if kind == "perfect" else (density[0], density[1])

    def tokens(self) -> SearchTokens:
        """Returns their vocabulary."""
        return MazeTokens(self.size)

    def draw(self, random: np.random.Generator) -> Maze:
        """Returns a maze."""
        return draw_maze(self.size, random, kind=self.kind, density=self.density)

    def signature(self, problem: Problem) -> bytes:
        """Returns its walls, turned as they come first."""
        assert isinstance(problem, Maze)
        return signature(problem)
