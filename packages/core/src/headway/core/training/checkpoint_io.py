"""Checkpoints are written whole or not at all; what cannot be read or continued from is one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback, Trainer

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


class FirstBatch(Callback):
    """Knows whether the first batch is over.

    What a damaged checkpoint makes of optimisers, schedules, counters and callbacks shows until then.
    """

    def __init__(self) -> None:
        self._begun = 0

    @property
    def over(self) -> bool:
        """Whether a second batch has begun."""
        return self._begun > 1

    def on_train_batch_start(self, trainer: Trainer, *args: Any, **options: Any) -> None:
        """Counts."""
        self._begun += 1

    def on_validation_batch_start(self, trainer: Trainer, *args: Any, **options: Any) -> None:
        """Counts, unless the validation is part of a training or comes before it."""
        self._begun += trainer.state.fn == "validate"

    def on_test_batch_start(self, trainer: Trainer, *args: Any, **options: Any) -> None:
        """Counts."""
        self._begun += 1

    @contextmanager
    def going_on_from(self, path: str | Path | None) -> Iterator[None]:
        """Names the checkpoint in what goes wrong before the first batch is over.

        Lightning hands the parts of a checkpoint to whom they belong; of damaged ones these raise anything.

        Args:
            path: The checkpoint; None where nothing is continued.

        Raises:
            InputError: If the block raises anything but a ``UserError`` or an error of headway.
        """
        try:
            yield
        except Exception as error:
            own = isinstance(error, UserError) or type(error).__module__.startswith("headway.")
            if path is None or own or self.over or isinstance(error, MemoryError):
                raise
            reason = f"{type(error).__name__}: {one_line(error)[:200]}"
            raise InputError(
                str(path),
                f"it cannot be gone on from ({reason}); it is damaged, or of another model",
            ) from error
