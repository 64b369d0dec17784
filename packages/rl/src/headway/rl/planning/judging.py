"""How good plans are, and how long the searches before them."""

from collections.abc import Sequence
from typing import NamedTuple

from headway.rl.planning.astar import astar
from headway.rl.planning.problem import Problem
from headway.rl.planning.tokens import Written


class Planned(NamedTuple):
    """What was planned for one problem.

    Args:
        solved: Whether the plan leads to the goal.
        optimal: Whether it is a shortest one.
        length: Tokens of the search before it.
    """

    solved: bool
    optimal: bool
    length: int


def judge(problems: Sequence[Problem], written: Sequence[Written]) -> list[Planned]:
    """Compares plans with those of A*."""
    found = []
    for problem, one in zip(problems, written, strict=True):
        solved = one.plan is not None and problem.leads(one.plan)
        optimal = solved and len(one.plan or ()) == len(astar(problem).plan)
        found.append(Planned(solved, optimal, one.length))
    return found


def mean_lengths(one: Sequence[Planned], other: Sequence[Planned]) -> tuple[float, float]:
    """Returns the mean length of two searches over the problems that both have found a shortest way in.

    Both are NaN if there is none.
    """
    both = [
        (a.length, b.length) for a, b in zip(one, other, strict=True) if a.optimal and b.optimal
    ]
    if not both:
        return float("nan"), float("nan")
    return sum(a for a, _ in both) / len(both), sum(b for _, b in both) / len(both)
