"""Reading timm's Swin V2 checkpoints, and the official ones; windows stand in no tensor of the former."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Table
from headway.vision.models.families import Row, numbers
from headway.vision.models.swin_v2_variants import OFFICIAL, TIMM
from headway.vision.weights.timm import TimmFamily

_PLACES = "layers.{}.blocks.0.attn.relative_coords_table"
# timm's arguments, and the columns of the table that say them.
_ARGUMENTS = {"window_size": "windows", "pretrained_window_sizes": "trained"}


class TimmSwinV2(TimmFamily):
    """Recognises ``architecture`` in config.json, or the names of the parameters."""

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names, timm's or the official ones."""
        official = "layers.0.downsample.reduction.weight" in checkpoint.state
        return OFFICIAL if official else TIMM

    def guess(self, checkpoint: Checkpoint) -> Row:
        """Returns the row whose tensors and windows these are.

        Raises:
            UserError: If the file does not tell the windows.
        """
        state, told = checkpoint.state, self.family.seen
        assert told is not None
        seen = told(state)
        stages = range(len(numbers(seen["depths"])))
        windows = [
            (state[_PLACES.format(place)].shape[1] + 1) // 2
            for place in stages
            if _PLACES.format(place) in state
        ]
        rows = list(self.family.rows().values())
        fitting = [row for row in rows if all(row[key] == seen[key] for key in seen)]
        if len(windows) == len(stages):
            fitting = [row for row in fitting if max(numbers(row["windows"])) == max(windows)]
        # A window that was trained smaller has the same tensors; the last window tells nothing of that.
        names = [row["name"] for row in fitting]
        if len(fitting) != 1:
            known = ", ".join(names) or ", ".join(row["name"] for row in rows)
            raise UserError(
                f"{checkpoint.source}: these tensors do not tell the windows; say which model it is, "
                f"architecture=NAME, one of {known}"
            )
        return fitting[0]

    def as_configured(
        self, row: Row, config: Mapping[str, Any], state: Mapping[str, Tensor], source: str
    ) -> Row:
        """Returns the row of an architecture as config.json changes it."""
        args = dict(config.get("model_args") or {})
        said = {column: args.pop(name) for name, column in _ARGUMENTS.items() if name in args}
        found = super().as_configured(row, {**config, "model_args": args}, state, source)
        stages = len(numbers(found["depths"]))
        for column, value in said.items():
            values = [value] * stages if isinstance(value, int) else list(value)
            if len(values) != stages or not all(isinstance(one, int) for one in values):
                raise UserError(
                    f"{source}: config.json says {column} {value!r}; one number, or one for each of "
                    f"{stages} stages, is read"
                )
            found[column] = ",".join(map(str, values))
        return found
