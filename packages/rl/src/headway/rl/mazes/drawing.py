"""Mazes at random."""

from typing import Literal

import numpy as np

from headway.core.errors import UserError
from headway.rl.mazes.maze import Maze
from headway.rl.mazes.ways import distances

Kind = Literal["scattered", "perfect"]
# Share of the cells that are walls.
DENSITY = (0.3, 0.5)
# Starts that are tried in one arrangement of walls before another is drawn.
TRIES = 4


def draw_maze(
    size: int,
    random: np.random.Generator,
    *,
    kind: Kind = "scattered",
    density: tuple[float, float] = DENSITY,
) -> Maze:
    """Draws a maze of either kind.

    Args:
        size: Cells along one side.
        random: Of what is drawn.
        kind: ``scattered``: single cells are walls; ``perfect``: walls stand between cells, and exactly one
            way leads from any cell to any other.
        density: Least and largest share of walls of scattered mazes.

    Raises:
        UserError: If such mazes cannot be.
    """
    check_kind(size, kind, density)
    return (
        scattered_maze(size, random, density) if kind == "scattered" else perfect_maze(size, random)
    )


def check_kind(size: int, kind: str, density: tuple[float, float]) -> None:
    """Raises ``UserError`` for mazes that cannot be."""
    if size < 2:
        raise UserError(f"size is {size}; a maze has at least 2 cells along a side")
    if kind not in ("scattered", "perfect"):
        raise UserError(f"kind is {kind!r}; mazes are 'scattered' or 'perfect'")
    if not 0 <= density[0] <= density[1] <= 0.6:
        raise UserError(
            f"density is {list(density)}; shares of walls run from 0 to 0.6, the smaller one first"
        )


def scattered_maze(
    size: int, random: np.random.Generator, density: tuple[float, float] = DENSITY
) -> Maze:
    """Draws cells that are walls, and a start and a goal whose way has at least ``size`` cells.

    Source:
        Lehnert et al. 2024, https://arxiv.org/abs/2402.14083, appendix A.2 (their code: maze.py).
    """
    cells = size**2
    least, most = (int(share * cells) for share in density)
    while True:
        walls = np.zeros(cells, bool)
        walls[random.permutation(cells)[: random.integers(least, most + 1)]] = True
        maze = Maze.of_walls(walls.reshape(size, size), 0, 0)
        free = np.flatnonzero(~walls)
        for start in random.permutation(free)[:TRIES].tolist():
            away = distances(maze.adjacent, start)
            far = [cell for cell, steps in away.items() if steps >= size - 1]
            if far:
                return Maze(maze.down, maze.right, start, far[random.integers(len(far))])


def perfect_maze(size: int, random: np.random.Generator) -> Maze:
    """Draws passages by a random depth-first search, and a start and a goal in different cells.

    Source:
        Ivanitskiy et al. 2023, https://arxiv.org/abs/2309.10498, section 2.2 (``gen_dfs``).
    """
    down, right = np.zeros((size, size), bool), np.zeros((size, size), bool)
    seen = np.zeros((size, size), bool)
    row, column = (int(place) for place in random.integers(0, size, 2))
    seen[row, column] = True
    way = [(row, column)]
    while way:
        row, column = way[-1]
        around = ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
        fresh = [(r, c) for r, c in around if 0 <= r < size and 0 <= c < size and not seen[r, c]]
        if not fresh:
            way.pop()
            continue
        there = fresh[random.integers(len(fresh))]
        upper = min(there, (row, column))
        (down if there[1] == column else right)[upper] = True
        seen[there] = True
        way.append(there)
    start, goal = random.choice(size**2, size=2, replace=False).tolist()
    return Maze(down, right, start, goal)
