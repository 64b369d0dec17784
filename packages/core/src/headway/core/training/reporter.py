"""Progress for those who read it later: one line for each epoch."""

import sys
import time

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar


class LineReporter(ProgressBar):
    """Writes one line per epoch, without control characters; for log files and batch systems."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._start = 0.0

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
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the epoch's line."""
        total = "" if trainer.max_epochs in (None, -1) else f"/{trainer.max_epochs}"
        values = "".join(
            f"  {name} {value.item():.4g}"
            for name, value in sorted(trainer.callback_metrics.items())
        )
        self._write(
            f"epoch {trainer.current_epoch + 1}{total}  step {trainer.global_step}{values}  "
            f"{time.monotonic() - self._start:.1f} s"
        )
