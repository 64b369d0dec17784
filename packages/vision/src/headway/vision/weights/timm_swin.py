"""Reading timm's Swin checkpoints, and the official ones, which name a few things otherwise."""

from collections.abc import Mapping
from math import isqrt
from typing import Any

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Table
from headway.vision.models.families import Row, numbers
from headway.vision.models.swin_variants import OFFICIAL, TABLE, TIMM
from headway.vision.weights.timm import TimmFamily, patch_of


class TimmSwin(TimmFamily):
    """Recognises ``architecture`` in config.json, or the names of the parameters."""

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names, timm's or the official ones."""
        official = "layers.0.downsample.reduction.weight" in checkpoint.state
        return OFFICIAL if official else TIMM

    def sizes(
        self, row: Row, state: Mapping[str, Tensor], wanted: tuple[int, int]
    ) -> dict[str, Any]:
        """Returns the sizes of pictures, patches and windows."""
        tables = [state[TABLE.format(place)] for place in range(len(numbers(row["depths"])))]
        patch = patch_of(state)
        windows = _windows(tables, wanted, patch)
        return {"image_size": wanted, "patch_size": patch, "windows": windows}


def _windows(tables: list[Tensor], size: tuple[int, int], patch: int) -> list[tuple[int, int]]:
    """Returns the window of each stage, as the number of rows of its table says."""
    windows = []
    grid = [-(-side // patch) for side in size]
    for table in tables:
        rows = len(table)
        side = (isqrt(rows) + 1) // 2
        square = (2 * side - 1) ** 2 == rows
        # timm makes a window as small as its map; of what is not square, one side is that of the map.
        found = (side, side) if square else None
        for axis in (0, 1):
            if found is None and rows % (2 * grid[axis] - 1) == 0:
                other = (rows // (2 * grid[axis] - 1) + 1) // 2
                found = (grid[0], other) if axis == 0 else (other, grid[1])
        if found is None:
            raise UserError(
                f"a table of {rows} relative positions fits no window on a map of {grid}"
            )
        windows.append(found)
        grid = [-(-side // 2) for side in grid]
    return windows
