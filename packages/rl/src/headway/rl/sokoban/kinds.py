"""Levels of Sokoban of one kind."""

from typing import ClassVar

import numpy as np

from headway.rl.planning import Problem, Problems, SearchTokens
from headway.rl.sokoban.drawing import arrange, check_level
from headway.rl.sokoban.level import Level
from headway.rl.sokoban.symmetry import signature
from headway.rl.sokoban.tokens import SokobanTokens


class Levels(Problems):
    """Levels of Sokoban, solvable or not; one turned or mirrored is the same.

    Args:
        size: Cells along one side, the wall along the border included.
        boxes: Boxes, and docks.
        walls: Walls within.
    """

    problem: ClassVar[type[Problem]] = Level
    always_solved: ClassVar[bool] = False

    def __init__(self, *, size: int = 7, boxes: int = 2, walls: int = 2) -> None:
        check_level(size, boxes, walls)
        super().__init__(size=size)
        self.boxes, self.walls = boxes, walls

    def tokens(self) -> SearchTokens:
        """Returns their vocabulary."""
        return SokobanTokens(self.size)

    def draw(self, random: np.random.Generator) -> Level:
        """Returns a level."""
        return arrange(self.size, random, boxes=self.boxes, walls=self.walls)

    def signature(self, problem: Problem) -> bytes:
        """Returns all that it is, turned as it comes first."""
        assert isinstance(problem, Level)
        return signature(problem)
