"""Checkpoints are written whole or not at all."""

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from headway.core.files import atomic_write


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
