"""A* with a record of what it does."""

import heapq
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from headway.core.errors import UserError
from headway.rl.mazes.maze import Maze


class Step(NamedTuple):
    """What the search does with one cell.

    Args:
        action: ``create``: the cell is put on the frontier; ``close``: it is expanded.
        cell: Number of the cell.
        cost: Steps from the start.
        heuristic: Rows and columns to the goal.
    """

    action: str
    cell: int
    cost: int
    heuristic: int


class Search(NamedTuple):
    """A search that has found a way.

    Args:
        steps: What it did, in order.
        plan: The cells of a shortest way, start and goal included.
    """

    steps: list[Step]
    plan: list[int]


def astar(maze: Maze, random: np.random.Generator | None = None) -> Search:
    """Finds a shortest way with the heuristic of rows plus columns.

    Args:
        maze: The maze.
        random: Breaks ties and orders neighbours; without it the cell of the smaller number comes first.

    Raises:
        UserError: If no way leads to the goal.

    Source:
        Lehnert et al. 2024, https://arxiv.org/abs/2402.14083, section 3.1.
    """
    goal = divmod(maze.goal, maze.size)

    def heuristic(cell: int) -> int:
        row, column = divmod(cell, maze.size)
        return abs(row - goal[0]) + abs(column - goal[1])

    costs, parents, closed = {maze.start: 0}, {maze.start: maze.start}, set[int]()
    steps = [Step("create", maze.start, 0, heuristic(maze.start))]
    frontier: list[tuple[int, float, int, int]] = [(heuristic(maze.start), 0.0, maze.start, 0)]
    while frontier:
        _, _, cell, cost = heapq.heappop(frontier)
        if cell in closed or cost > costs[cell]:
            continue  # a cheaper way to it was found meanwhile
        closed.add(cell)
        steps.append(Step("close", cell, cost, heuristic(cell)))
        if cell == maze.goal:
            return Search(steps, _way(parents, cell))
        around = maze.adjacent[cell]
        if random is not None:
            around = [around[place] for place in random.permutation(len(around))]
        for there in around:
            if there in costs and costs[there] <= cost + 1:
                continue
            costs[there], parents[there] = cost + 1, cell
            left = heuristic(there)
            tie = there if random is None else random.random()
            heapq.heappush(frontier, (cost + 1 + left, tie, there, cost + 1))
            steps.append(Step("create", there, cost + 1, left))
    raise UserError("no way leads from the start of the maze to its goal")


def _way(parents: dict[int, int], cell: int) -> list[int]:
    plan = [cell]
    while parents[cell] != cell:
        cell = parents[cell]
        plan.append(cell)
    return plan[::-1]


def distances(adjacent: Sequence[Sequence[int]], start: int) -> dict[int, int]:
    """Returns how many steps each cell that can be reached is away from a cell."""
    found, queue = {start: 0}, deque([start])
    while queue:
        cell = queue.popleft()
        for there in adjacent[cell]:
            if there not in found:
                found[there] = found[cell] + 1
                queue.append(there)
    return found
