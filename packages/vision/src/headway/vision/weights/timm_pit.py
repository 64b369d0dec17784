"""Reading timm's PiT checkpoints, whose positions are a map, and the official ones."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Table
from headway.vision.models.families import Row
from headway.vision.models.pit import pit_table
from headway.vision.weights.timm import TimmFamily


class TimmPiT(TimmFamily):
    """Recognises ``architecture`` in config.json, or the names of the parameters."""

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names and forms."""
        tokens: Any = model.tokens
        return pit_table(tokens.position.grid, distilled="head_dist.weight" in checkpoint.state)

    def sizes(
        self, row: Row, state: Mapping[str, Tensor], wanted: tuple[int, int]
    ) -> dict[str, Any]:
        """Returns the sizes of pictures and patches; patches overlap by half."""
        patch = state["patch_embed.conv.weight"].shape[-1]
        step = patch // 2
        grid = tuple((side - patch) // step + 1 for side in wanted)
        found = tuple(state["pos_embed"].shape[2:])
        size = wanted if grid == found else tuple(patch + (side - 1) * step for side in found)
        return {"patch_size": patch, "image_size": size}
