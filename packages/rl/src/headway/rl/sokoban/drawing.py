"""Levels of Sokoban at random."""

import numpy as np

from headway.core.errors import UserError
from headway.rl.sokoban.level import Level


def arrange(size: int, random: np.random.Generator, *, boxes: int, walls: int) -> Level:
    """Draws a level, whether it can be solved or not.

    A wall runs along the border; further walls, the worker and the docks stand anywhere within, boxes at
    least one cell away from that wall, and no two on one cell.

    Args:
        size: Cells along one side, the wall along the border included.
        random: Of what is drawn.
        boxes: Boxes, and docks.
        walls: Walls within.

    Source:
        Lehnert et al. 2024, https://arxiv.org/abs/2402.14083, appendix A.2 (their code: sokoban.py, which
        leaves boxes out where walls take their place; here another level is drawn).
    """
    within = np.arange(size**2).reshape(size, size)[1:-1, 1:-1]
    middle = set(within[1:-1, 1:-1].ravel().tolist())
    while True:
        order = random.permutation(within.ravel()).tolist()
        free = order[walls:]
        stand = [cell for cell in free if cell in middle][:boxes]
        if len(stand) == boxes:
            break
    rest = [cell for cell in free if cell not in stand]
    made = np.ones((size, size), bool)
    made[1:-1, 1:-1] = False
    made.flat[order[:walls]] = True
    return Level(made, tuple(sorted(rest[1 : boxes + 1])), tuple(sorted(stand)), rest[0])


def check_level(size: int, boxes: int, walls: int) -> None:
    """Raises ``UserError`` for levels that cannot be."""
    if size < 5:
        raise UserError(f"size is {size}; a Sokoban level has at least 5 cells along a side")
    most = min((size - 4) ** 2, size - 1)
    if not 1 <= boxes <= most:
        raise UserError(
            f"boxes is {boxes}; a Sokoban level with {size} cells along a side has 1 to {most}"
        )
    most = ((size - 2) ** 2 - 2 * boxes - 1) // 2
    if not 0 <= walls <= most:
        raise UserError(
            f"walls is {walls}; a Sokoban level with {size} cells along a side and {boxes} boxes has 0 to "
            f"{most} within"
        )
