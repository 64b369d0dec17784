"""The base of all tasks: what a LightningModule of headway has in common with every other."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from lightning.pytorch import Callback, LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from headway.core.changes import train_new_parameters
from headway.core.errors import UserError, one_line
from headway.core.finetune import FineTuning, hold_frozen_statistics
from headway.core.penalties import take_penalty
from headway.core.stacks import Stack
from headway.core.training.averaging import WeightAverage
from headway.core.training.data import DataModule
from headway.core.training.finite import FiniteTraining
from headway.core.training.groups import parameter_groups
from headway.core.training.hooks import Averaging, StepSeeds
from headway.core.training.optimizers import OptimizerFactory
from headway.core.training.resume import check_progress, close_epoch
from headway.core.training.run_folder import RunFolder
from headway.core.training.schedules import ScheduleFactory
from headway.core.training.vocabulary import take_vocabulary, write_vocabulary
from headway.core.training.warnings import warn_of_batch_norm, warn_of_other_data

Strategy = FineTuning


class Task(LightningModule):
    """Trains a model: optimiser, schedule, fine-tuning and weight averaging are the same in every task.

    ``training_step`` of a task with one optimiser returns ``self.with_penalties(loss)``.

    A task adds the loss and the metrics (``training_step``, ``validation_step``, ``test_step``,
    ``predict_step``); it calls ``self.backbone`` and computes nothing that the model should.

    Gradient clipping and accumulation belong to the trainer: ``trainer.gradient_clip_val`` and
    ``trainer.accumulate_grad_batches``.

    ``monitor`` and ``monitor_mode`` name the metric that decides which checkpoint is the best one.

    Args:
        backbone: The whole model, head included; it is what a run exports.
        optimizer: AdamW, Adam, SGD, Lion, LAMB or another ``OptimizerFactory``.
        schedule: How the learning rate moves, or None for a constant one.
        finetune: Freezes or injects parameters before training.
        layer_decay: Ratio of the learning rates of neighbouring depths; 0.65 to 0.9 is usual.
        ema: Decay of the running average of the weights (0.999 to 0.9999), which is then what is
            validated, tested and exported; None for no average.
        compile: Whether PyTorch compiles the model before training (one or two minutes): fewer passes over
            memory in every step. It pays where the steps of a run take longer than that.
    """

    monitor: str = "val_loss"
    monitor_mode: str = "min"

    def __init__(
        self,
        *,
        backbone: nn.Module,
        optimizer: OptimizerFactory,
        schedule: ScheduleFactory | None = None,
        finetune: Strategy | None = None,
        layer_decay: float | None = None,
        ema: float | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        if ema is not None and not 0 < ema < 1:
            raise UserError(f"ema is {ema}; a decay lies between 0 and 1, usually 0.999 to 0.9999")
        if finetune is not None:
            finetune.apply(backbone)
            train_new_parameters(backbone)
        self.backbone = backbone
        self.optimizer_factory = optimizer
        self.schedule_factory = schedule
        self.layer_decay = layer_decay
        self.ema_decay = ema
        self.compiles = compile
        self.average: WeightAverage | None = None
        self._data: dict[str, str] | None = None
        self.backbone.train()
        hold_frozen_statistics(self.backbone)

    def train(self, mode: bool = True) -> Self:
        """Sets the mode; normalisation that is frozen keeps its statistics."""
        super().train(mode)
        hold_frozen_statistics(self.backbone)
        return self

    def configure_callbacks(self) -> list[Callback]:
        """Returns the callbacks that every run of a task has."""
        always: list[Callback] = [StepSeeds(), FiniteTraining()]
        return always if self.ema_decay is None else [*always, Averaging()]

    def preprocessing(self) -> dict[str, Any]:
        """Returns what a user of the exported model needs besides its weights, as JSON values.

        Classes, image size, mean and deviation, a scaler: by default what the data module says.
        """
        data = getattr(self._trainer, "datamodule", None)
        return data.preprocessing() if isinstance(data, DataModule) else {}

    def encode_data(self) -> None:
        """Lets the data module cut texts by the vocabulary of the model, which a checkpoint has changed."""

    @property
    def pictures(self) -> Path | None:
        """The run's folder of pictures; None where nothing is drawn: other processes, trial runs."""
        trainer = self.trainer
        if not trainer.is_global_zero or getattr(trainer, "fast_dev_run", False):
            return None
        return RunFolder(Path(trainer.default_root_dir)).pictures

    def draw(self, split: str) -> None:
        """Draws what a validation or test has shown, into ``pictures``; nothing unless a task does.

        It is called on every process: at the end of a test, of a validation by itself, and once after
        training for the last validation.

        Args:
            split: ``val`` or ``test``.
        """

    def on_validation_end(self) -> None:
        """Draws if this was the only validation."""
        if self.trainer.state.fn == "validate":
            self.draw("val")

    def on_fit_end(self) -> None:
        """Draws the last validation: once per run, it costs a second."""
        self.draw("val")

    def on_test_end(self) -> None:
        """Draws the test."""
        self.draw("test")

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The weights are the averaged ones inside the block, if the task averages."""
        if self.average is None:
            yield
            return
        with self.average.applied(self):
            yield

    def log(self, name: str, value: Any, *args: Any, **options: Any) -> None:
        """Logs a value; the mean of an epoch is that of all devices, not of the first alone."""
        training = self._trainer is not None and self.trainer.training
        on_epoch = options.get("on_epoch", not training)
        if self._trainer is not None and self.trainer.world_size > 1 and on_epoch:
            options.setdefault("sync_dist", True)
        super().log(name, value, *args, **options)

    def with_penalties(self, loss: Tensor) -> Tensor:
        """Returns the loss with what parts of the model ask for (``Penalised``), which is logged."""
        penalty = take_penalty(self.backbone)
        if penalty is None:
            return loss
        self.log("train_penalty", penalty.detach(), on_step=True, on_epoch=False)
        return loss + penalty

    def on_fit_start(self) -> None:
        """Compiles if asked to; says what is different with several devices and whether the data changed."""
        if self.compiles:
            for part in compiled_parts(self.backbone):
                part.compile()
        data = getattr(self.trainer, "datamodule", None)
        before, self._data = self._data, None
        if isinstance(data, DataModule) and self.trainer.is_global_zero:
            # It reads the files: once, and the first process speaks and writes for all.
            self._data = data.fingerprints()
            if before is not None:
                warn_of_other_data(before, self._data)
        if self.trainer.world_size > 1:
            warn_of_batch_norm(self.backbone)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds vocabulary, average and what the data look like; ``state_dict`` holds the trained weights."""
        write_vocabulary(self.backbone, checkpoint)
        if self._data is not None:
            checkpoint["data"] = self._data
        if self.average is not None:
            checkpoint["average"] = self.average.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes vocabulary and average, and closes an epoch that the checkpoint was written at the end of."""
        if take_vocabulary(self.backbone, checkpoint):
            self.encode_data()
        self._data = checkpoint.get("data")
        if self.ema_decay is not None and "average" in checkpoint:
            self.average = WeightAverage(self, self.ema_decay)
            self.average.load_state_dict(checkpoint["average"])
        trainer = self._trainer
        if trainer is not None and trainer.state.fn == "fit":
            check_progress(checkpoint["loops"]["fit_loop"], trainer.fit_loop.state_dict())
        close_epoch(
            checkpoint, by_steps=self._trainer is not None and self._trainer.max_steps != -1
        )

    def configure_optimizers(self) -> Any:
        """Builds optimiser and schedule; the schedule moves with every optimiser step."""
        factory = self.optimizer_factory
        groups = parameter_groups(
            self.backbone, lr=factory.lr, layer_decay=self.layer_decay, others=self
        )
        try:
            optimizer = factory(groups)
        except ValueError as error:
            raise UserError(f"optimizer: {one_line(error)}") from error
        if self.schedule_factory is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self._schedule(optimizer), "interval": "step"},
        }

    def _schedule(self, optimizer: Optimizer) -> Any:
        assert self.schedule_factory is not None
        total = self.trainer.estimated_stepping_batches
        # With max_steps alone Lightning answers without looking at the data.
        self.trainer.fit_loop.setup_data()
        batches = self.trainer.num_training_batches
        steps_per_epoch = (
            batches
            if math.isinf(batches)
            else math.ceil(batches / self.trainer.accumulate_grad_batches)
        )
        return self.schedule_factory(optimizer, total_steps=total, steps_per_epoch=steps_per_epoch)


def compiled_parts(model: nn.Module) -> list[nn.Module]:
    """Returns what is compiled before training: the model, and its stacks.

    A model that computes its own loss may call its parts and never itself. Where it is called as a whole, the
    compiler takes the stacks into its graph.
    """
    return [
        model,
        *(part for part in model.modules() if isinstance(part, Stack) and part is not model),
    ]
