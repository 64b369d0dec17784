"""Mazes as tokens."""

from typing import ClassVar

from headway.core.errors import UserError
from headway.rl.mazes.maze import Maze
from headway.rl.planning import Problem, SearchTokens, Step


class MazeTokens(SearchTokens):
    """The vocabulary of Searchformer for mazes.

    A prompt is ``start S goal G wall W wall W ...``; a node is a cell.

    Args:
        size: Cells along one side of the mazes.
    """

    problem: ClassVar[type[Problem]] = Maze
    used: ClassVar[tuple[str, ...]] = ("start", "goal", "wall", "create", "close", "plan")

    def __init__(self, size: int) -> None:
        super().__init__(size, costs=size**2)

    def prompt(self, problem: Problem) -> list[int]:
        """Returns what the model reads of a maze.

        Raises:
            UserError: If the maze has another size, or walls between cells.
        """
        self._check(problem)
        assert isinstance(problem, Maze)
        if not problem.scattered:
            raise UserError(
                "the maze has walls between cells, which the prompt has no word for; use kind 'scattered'"
            )
        tokens = [*self.called("start", [problem.start]), *self.called("goal", [problem.goal])]
        return tokens + self.called("wall", problem.walls.ravel().nonzero()[0].tolist())

    def node(self, step: Step) -> list[int]:
        """Returns its cell."""
        return [self.first_cell + step.cells[0]]
