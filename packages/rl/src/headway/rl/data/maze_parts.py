"""Mazes for training, validation and test, none of which is another one turned or mirrored."""

from collections.abc import Callable, Sequence

import numpy as np

from headway.core.errors import UserError
from headway.rl.mazes import Maze, draw_maze, signature
from headway.rl.mazes.drawing import Kind

# Mazes in a row that are not new before it is said that there are no more.
PATIENCE = 2000


def draw_parts(
    counts: Sequence[int],
    *,
    size: int,
    kind: Kind,
    density: tuple[float, float],
    seed: int,
    fits: Callable[[Maze], bool] | None = None,
) -> list[list[Maze]]:
    """Draws mazes and deals them out; no two of all have the same walls, in any symmetric copy.

    Args:
        counts: How many in each part; the first parts do not depend on how large the later ones are.
        size: Cells along one side.
        kind: ``scattered`` or ``perfect``.
        density: Least and largest share of walls of scattered mazes.
        seed: Of what is drawn.
        fits: Which mazes are taken; all if None.

    Raises:
        UserError: If there are not as many.
    """
    random = np.random.default_rng(seed)
    seen: set[bytes] = set()
    parts: list[list[Maze]] = []
    for count in counts:
        part: list[Maze] = []
        missed = 0
        while len(part) < count:
            maze = draw_maze(size, random, kind=kind, density=density)
            mark = signature(maze)
            if mark in seen or (fits is not None and not fits(maze)):
                missed += 1
                if missed > PATIENCE:
                    raise UserError(
                        f"there are hardly more than {len(seen)} different mazes of this kind with "
                        f"{size} cells along a side, {sum(counts)} are asked for; ask for fewer or larger "
                        "ones"
                    )
                continue
            missed = 0
            seen.add(mark)
            part.append(maze)
        parts.append(part)
    return parts
