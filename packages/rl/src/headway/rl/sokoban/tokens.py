"""Levels of Sokoban as tokens."""

from typing import ClassVar

from headway.rl.planning import Problem, SearchTokens, Step
from headway.rl.sokoban.level import Level


class SokobanTokens(SearchTokens):
    """The vocabulary of Searchformer for Sokoban.

    A prompt is ``worker W box B ... dock D ... wall X ...``; a node is ``worker W box B ...`` with the boxes
    that are on no dock.

    Args:
        size: Cells along one side of the levels.
    """

    problem: ClassVar[type[Problem]] = Level
    used: ClassVar[tuple[str, ...]] = ("worker", "box", "dock", "wall", "create", "close", "plan")

    def __init__(self, size: int) -> None:
        super().__init__(size, costs=2 * size**2)

    def prompt(self, problem: Problem) -> list[int]:
        """Returns what the model reads of a level.

        Raises:
            UserError: If the level has another size.
        """
        self._check(problem)
        assert isinstance(problem, Level)
        tokens = self.called("worker", [problem.worker]) + self.called("box", sorted(problem.boxes))
        tokens += self.called("dock", sorted(problem.docks))
        return tokens + self.called("wall", problem.walls.ravel().nonzero()[0].tolist())

    def node(self, step: Step) -> list[int]:
        """Returns worker and boxes."""
        worker, *loose = step.cells
        return self.called("worker", [worker]) + self.called("box", loose)
