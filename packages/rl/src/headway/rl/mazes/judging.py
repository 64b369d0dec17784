"""How good plans through mazes are, and how long the searches before them."""

from collections.abc import Sequence
from typing import NamedTuple

from headway.rl.mazes.astar import astar
from headway.rl.mazes.maze import Maze
from headway.rl.mazes.tokens import Written


class Planned(NamedTuple):
    """What was planned for one maze.

    Args:
        solved: Whether the plan leads from start to goal.
        optimal: Whether it is a shortest one.
        length: Tokens of the search before it.
    """

    solved: bool
    optimal: bool
    length: int


def judge(mazes: Sequence[Maze], written: Sequence[Written]) -> list[Planned]:
    """Compares plans with those of A*."""
    found = []
    for maze, one in zip(mazes, written, strict=True):
        solved = one.plan is not None and maze.leads(one.plan)
        optimal = solved and len(one.plan or ()) == len(astar(maze).plan)
        found.append(Planned(solved, optimal, one.length))
    return found


def mean_lengths(one: Sequence[Planned], other: Sequence[Planned]) -> tuple[float, float]:
    """Returns the mean length of two searches over the mazes that both have found a shortest way in.

    Both are NaN if there is none.
    """
    both = [
        (a.length, b.length) for a, b in zip(one, other, strict=True) if a.optimal and b.optimal
    ]
    if not both:
        return float("nan"), float("nan")
    return sum(a for a, _ in both) / len(both), sum(b for _, b in both) / len(both)
