"""A* with a record of what it does."""

import heapq
from typing import Any, NamedTuple

import numpy as np

from headway.core.errors import UserError
from headway.rl.planning.problem import Node, Problem


class Step(NamedTuple):
    """What the search does with one node.

    Args:
        action: ``create``: the node is put on the frontier; ``close``: it is expanded.
        cells: What it is told by, that of the agent first.
        cost: Steps from the beginning.
        heuristic: Steps that are left at least.
    """

    action: str
    cells: tuple[int, ...]
    cost: int
    heuristic: int


class Search(NamedTuple):
    """A search that has found a way.

    Args:
        steps: What it did, in order.
        plan: The cells of the agent on a shortest way, the first one included.
    """

    steps: list[Step]
    plan: list[int]


def astar(
    problem: Problem, random: np.random.Generator | None = None, *, most: int | None = None
) -> Search:
    """Finds a shortest way.

    A node to which a cheaper way is found is created and closed again: a heuristic that never says too much
    may fall by more than a step takes.

    Args:
        problem: A maze, say.
        random: Breaks ties and orders what follows a node; without it the smaller node comes first.
        most: Steps of the search after which it gives up; none if None.

    Raises:
        UserError: If no way leads to the goal, or none was found in ``most`` steps.

    Source:
        Lehnert et al. 2024, https://arxiv.org/abs/2402.14083, section 3.1.
    """
    beginning, first = problem.beginning, problem.left(problem.beginning)
    costs, parents = {beginning: 0}, {beginning: beginning}
    steps: list[Step] = []
    frontier: list[tuple[int, Any, Node, int, int]] = []
    if first is not None:
        steps.append(Step("create", problem.told(beginning), 0, first))
        frontier.append((first, 0.0, beginning, 0, first))
    while frontier:
        _, _, node, cost, left = heapq.heappop(frontier)
        if cost > costs[node]:
            continue  # a cheaper way to it was found meanwhile
        steps.append(Step("close", problem.told(node), cost, left))
        if problem.solved(node):
            return Search(steps, _way(problem, parents, node))
        if most is not None and len(steps) > most:
            raise UserError(f"no way was found in {most} steps of the search")
        around = problem.following(node)
        if random is not None:
            around = [around[place] for place in random.permutation(len(around))]
        for there in around:
            if there in costs and costs[there] <= cost + 1:
                continue
            left = problem.left(there)
            if left is None:
                continue
            costs[there], parents[there] = cost + 1, node
            tie = there if random is None else random.random()
            heapq.heappush(frontier, (cost + 1 + left, tie, there, cost + 1, left))
            steps.append(Step("create", problem.told(there), cost + 1, left))
    raise UserError(f"no way leads from the start of the {problem.name[0]} to its goal")


def _way(problem: Problem, parents: dict[Node, Node], node: Node) -> list[int]:
    plan = [problem.place(node)]
    while parents[node] != node:
        node = parents[node]
        plan.append(problem.place(node))
    return plan[::-1]
