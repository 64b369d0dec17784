"""The callback that keeps the run folder: checkpoints, metrics, the exported model, the curves."""

import math
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_warn

from headway.core.errors import UserError
from headway.core.files import replace_with_link
from headway.core.training.checkpoint_io import use_atomic_checkpoints
from headway.core.training.cpu_clock import CpuClock
from headway.core.training.curves import draw_curves
from headway.core.training.export import export_model
from headway.core.training.finite import check_metrics, check_weights
from headway.core.training.metrics_file import MetricsFile
from headway.core.training.private_lightning import is_last_of_epoch, logged_now
from headway.core.training.resume import Sums, add_epoch_sums, epoch_sums, may_save
from headway.core.training.run_folder import RunFolder


class RunRecorder(Checkpoint):
    """Writes the run folder, ``trainer.default_root_dir``.

    ``last.ckpt`` is written after every epoch, and within one when ``every_n_steps`` or ``every_seconds``
    have passed; ``best.ckpt`` and ``model/`` whenever the monitored metric is better than before. A task
    names its metric; without a value of it ``model/`` has the last weights.

    A ``Checkpoint`` to Lightning: it then runs after all other callbacks, so that what they remember is
    in the file.

    Args:
        monitor: Name of the metric, in place of the task's own.
        mode: ``"min"`` or ``"max"``, in place of the task's own.
        every_n_steps: Optimiser steps between checkpoints within an epoch.
        every_seconds: Seconds between checkpoints within an epoch.
        export: Whether to write ``model/``.
    """

    def __init__(
        self,
        *,
        monitor: str | None = None,
        mode: str | None = None,
        every_n_steps: int | None = None,
        every_seconds: float | None = 600,
        export: bool = True,
    ) -> None:
        if mode not in (None, "min", "max"):
            raise UserError(f'mode is {mode!r}; it is "min" or "max"')
        self.monitor = monitor
        self.mode = mode
        self.every_n_steps = every_n_steps
        self.every_seconds = every_seconds
        self.export = export
        self.best: float | None = None
        self.best_model_path = ""  # what Lightning looks up for ckpt_path="best"
        self._cpu_minutes = 0.0
        self._sums: Sums = {}
        self._of_validation: set[str] = set()
        self._validated = False
        self._warned = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Finds the folder and makes checkpoints atomic."""
        # All ranks have to agree on it; only the first one made it.
        self.folder = RunFolder(Path(trainer.strategy.broadcast(trainer.default_root_dir)))
        use_atomic_checkpoints(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Cuts the metrics back to where the run goes on."""
        self._clock = CpuClock(self._cpu_minutes)
        self._saved_step = trainer.global_step
        self._saved_time = time.monotonic()
        if trainer.is_global_zero:
            self._metrics = MetricsFile(self.folder.metrics)
            self._metrics.cut(epoch=trainer.current_epoch, step=trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves within an epoch when it is time, at the next batch that can be continued from."""
        add_epoch_sums(trainer, self._sums)
        self._sums = {}
        steps = trainer.global_step - self._saved_step
        due = self.every_n_steps is not None and steps >= self.every_n_steps
        if self.every_seconds is not None and steps:
            late = time.monotonic() - self._saved_time >= self.every_seconds
            # The clocks of the ranks differ, and saving is a collective act.
            due = due or bool(trainer.strategy.broadcast(late))
        if due and may_save(trainer):
            self._sums = epoch_sums(trainer)
            self._save_last(trainer)
            self._sums = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Records a validation within an epoch; the one at its end is recorded with the epoch."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self._of_validation |= {metric.meta.name for metric in logged_now(trainer).values()}
        self._validated = is_last_of_epoch(trainer)
        if not self._validated:
            self._add_row(trainer, training=False, validation=True)
            check_metrics(trainer)
            if self._is_best(trainer, pl_module):
                check_weights(trainer, pl_module)
                trainer.save_checkpoint(self.folder.best, weights_only=False)
                self._export(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Records the epoch: its row, the last checkpoint, and the best one if it is."""
        self._add_row(trainer, training=True, validation=self._validated)
        self._validated = False
        check_metrics(trainer)
        better = self._is_best(trainer, pl_module)
        self._save_last(trainer)
        if better:
            if trainer.is_global_zero:
                replace_with_link(self.folder.last, self.folder.best)
            self._export(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Exports the last weights where no best is known, and draws the curves."""
        if self.best is None:
            self._export(trainer, pl_module)
        if trainer.is_global_zero and self.folder.metrics.is_file():
            draw_curves(self.folder.metrics, self.folder.pictures / "curves.png")

    def _add_row(self, trainer: Trainer, *, training: bool, validation: bool) -> None:
        self._cpu_minutes = self._clock.minutes()
        if not trainer.is_global_zero:
            return
        row = {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "cpu_minutes": self._cpu_minutes,
        }
        rates = [
            group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups
        ]
        if rates:
            row["lr"] = float(max(rates))
        # Lightning keeps the values of earlier epochs; a row has what was measured for it.
        for name, value in trainer.callback_metrics.items():
            plain = name.split("/dataloader_idx_")[0].removesuffix("_epoch")
            if validation if plain in self._of_validation else training:
                row[name] = value.item()
        self._metrics.add(row)

    def _is_best(self, trainer: Trainer, task: LightningModule) -> bool:
        name = self.monitor or getattr(task, "monitor", "val_loss")
        mode = self.mode or getattr(task, "monitor_mode", "min")
        if name not in trainer.callback_metrics:
            if not self._warned and self.monitor is not None:
                known = ", ".join(sorted(trainer.callback_metrics)) or "none"
                rank_zero_warn(
                    f"no metric {name!r} to choose the best checkpoint by; there is: {known}"
                )
                self._warned = True
            return False
        value = float(trainer.callback_metrics[name])
        if not math.isfinite(value):
            return False
        better = self.best is None or (value < self.best if mode == "min" else value > self.best)
        if better:
            self.best = value
            self.best_model_path = str(self.folder.best)
        return better

    def _save_last(self, trainer: Trainer) -> None:
        check_weights(trainer, trainer.lightning_module)
        self._cpu_minutes = self._clock.minutes()
        trainer.save_checkpoint(self.folder.last, weights_only=False)
        self._saved_step = trainer.global_step
        self._saved_time = time.monotonic()

    def _export(self, trainer: Trainer, task: LightningModule) -> None:
        if not self.export or not trainer.is_global_zero:
            return
        from headway.core.training.task import Task

        if isinstance(task, Task):
            with task.averaged():
                check_weights(trainer, task.backbone)
                export_model(task.backbone, self.folder.model, task.preprocessing())

    def state_dict(self) -> dict[str, Any]:
        """Returns what a continued run must know."""
        return {"best": self.best, "cpu_minutes": self._cpu_minutes, "sums": self._sums}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores what ``state_dict`` returned."""
        self.best = state_dict["best"]
        self._cpu_minutes = state_dict["cpu_minutes"]
        self._sums = state_dict["sums"]
