"""Progress for those who read it later: one line for each epoch, and for each minute of a long one."""

import sys
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar


class LineReporter(ProgressBar):
    """Writes one line per epoch, without control characters; for log files and batch systems.

    Args:
        every: Seconds after which a line says how far an epoch is that has not ended.
    """

    def __init__(self, *, every: float = 60.0) -> None:
        super().__init__()
        self._enabled = True
        self._every = every
        self._start = self._said = 0.0

    def disable(self) -> None:
        """Stops writing (Lightning calls it on all ranks but the first)."""
        self._enabled = False

    def enable(self) -> None:
        """Writes again."""
        self._enabled = True

    def _write(self, line: str) -> None:
        if self._enabled and self.trainer.is_global_zero:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says what is trained, and on what."""
        count = sum(p.numel() for p in pl_module.parameters())
        trained = sum(p.numel() for p in pl_module.parameters() if p.requires_grad)
        self._write(
            f"{type(pl_module).__name__}: {count:,} parameters, {trained:,} trained, "
            f"on {trainer.strategy.root_device}"
        )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock of the epoch."""
        self._start = self._said = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Says how far a long epoch is, and the loss of the last batch."""
        now = time.monotonic()
        if now - self._said < self._every:
            return
        self._said = now
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        shown = "" if loss is None else f"  loss {float(loss):.4g}"
        batches = trainer.num_training_batches
        total = "" if batches == float("inf") else f"/{batches}"
        self._write(
            f"epoch {trainer.current_epoch + 1}{_of(trainer)}  batch {batch_idx + 1}{total}{shown}  "
            f"{now - self._start:.0f} s"
        )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the epoch's line."""
        values = "".join(
            f"  {name} {value.item():.4g}"
            for name, value in sorted(trainer.callback_metrics.items())
        )
        self._write(
            f"epoch {trainer.current_epoch + 1}{_of(trainer)}  step {trainer.global_step}{values}  "
            f"{time.monotonic() - self._start:.1f} s"
        )


def _of(trainer: Trainer) -> str:
    """Returns how many epochs there are, where that is known."""
    return "" if trainer.max_epochs in (None, -1) else f"/{trainer.max_epochs}"
