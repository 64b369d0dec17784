"""Reading timm's Hiera checkpoints, and the official ones; positions tell the size of pictures."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from headway.vision.models.families import Row
from headway.vision.weights.timm import TimmFamily, image_size


class TimmHiera(TimmFamily):
    """Recognises ``architecture`` in config.json, or the names of the parameters."""

    def sizes(
        self, row: Row, state: Mapping[str, Tensor], wanted: tuple[int, int]
    ) -> dict[str, Any]:
        """Returns the size of pictures; tables of windows do not depend on it."""
        (name,) = self.family.timm.find("position.table", state)
        table = state[name]
        if table.ndim != 3:
            return {"image_size": wanted}
        return {"image_size": image_size(table.shape[1], wanted, self.family.patch)}
