"""Checkpoints are written whole or not at all; what cannot be read is one line."""

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Trainer

from headway.core.errors import InputError, UserError, one_line
from headway.core.files import atomic_write
from headway.core.reading import check_file


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's own format, written through ``atomic_write``: a full disk is one clear error."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Writes a checkpoint; remote addresses are left to Lightning."""
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with atomic_write(Path(path)) as file:
            torch.save(checkpoint, file)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads a checkpoint.

        Raises:
            InputError: If it is missing, damaged or no checkpoint of a run.
        """
        if "://" in str(path):
            return super().load_checkpoint(path, map_location, weights_only)
        check_file(path, "checkpoint")
        try:
            content = super().load_checkpoint(path, map_location, weights_only)
        except UserError:
            raise
        except Exception as error:
            # Of damaged files torch raises anything.
            reason = one_line(error)[:200]
            raise InputError(str(path), f"is damaged or no checkpoint ({reason})") from error
        state = content.get("state_dict") if isinstance(content, dict) else None
        if not isinstance(state, dict):
            raise InputError(str(path), "is no checkpoint of a run: it has no state_dict")
        return content


def use_atomic_checkpoints(trainer: Trainer) -> None:
    """Puts ``AtomicCheckpointIO`` in the place of Lightning's own; what a strategy brings itself stays."""
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = AtomicCheckpointIO()
