"""Sokoban that is seen from above."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from headway.rl.environments.planning import PlanningWalk
from headway.rl.sokoban import Levels

CELL = 24
FLOOR, WALL, DOCK = (235, 235, 235), (60, 60, 60), (150, 210, 160)
BOX, DOCKED, WORKER = (190, 120, 50), (30, 140, 60), (40, 80, 200)


class SokobanPush(PlanningWalk):
    """A worker pushes all boxes to docks; each episode has a level of its own.

    The observation has four planes of ``size`` x ``size`` numbers, 0 or 1: walls, docks, boxes, the worker.
    Walls stop, and boxes that cannot be pushed. See ``PlanningWalk``.

    Args:
        size: Cells along one side, the wall along the border included.
        boxes: Boxes, and docks.
        walls: Walls within.
        render_mode: ``rgb_array`` or None.
    """

    patience: ClassVar[int] = 2

    def __init__(
        self, *, size: int = 7, boxes: int = 2, walls: int = 2, render_mode: str | None = None
    ) -> None:
        super().__init__(Levels(size=size, boxes=boxes, walls=walls), render_mode=render_mode)

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Returns a picture: docks light green, boxes brown, those on docks green, the worker blue."""
        if self.render_mode != "rgb_array":
            return None
        walls, docks, boxes, worker = self.problem.seen(self.node) > 0.5
        picture = np.empty((*walls.shape, CELL, CELL, 3), np.uint8)
        picture[:] = FLOOR
        picture[walls] = WALL
        picture[docks] = DOCK
        # Docks are seen around what stands on them.
        inner = picture[:, :, 3:-3, 3:-3]
        inner[boxes] = BOX
        inner[boxes & docks] = DOCKED
        inner[worker] = WORKER
        side = CELL * self.size
        return picture.transpose(0, 2, 1, 3, 4).reshape(side, side, 3)
