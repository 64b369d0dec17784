"""What every task does around its steps: stateless randomness, and weight averaging."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from headway.core.training.averaging import WeightAverage
from headway.core.training.randomness import mix, seed_all


class StepSeeds(Callback):
    """Seeds every training step with (seed, rank, epoch, batch), and every validation with its epoch.

    Dropout, mixup and other draws of a step then do not depend on what was drawn before it, so that a
    run can be continued in the middle without saving any generator.
    """

    def __init__(self) -> None:
        self.seed: int | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the seed that the program was started with, unless a checkpoint brought its own."""
        if self.seed is None:
            self.seed = torch.initial_seed()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seeds the step."""
        assert self.seed is not None
        seed_all(mix(self.seed, trainer.global_rank, trainer.current_epoch, batch_idx))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seeds the validation, which is the same for equal weights."""
        seed_all(mix(self.seed or 0, trainer.global_rank, trainer.current_epoch, "validation"))

    def state_dict(self) -> dict[str, Any]:
        """Returns the seed of the run."""
        return {"seed": self.seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the seed of the run."""
        self.seed = state_dict["seed"]


class Averaging(Callback):
    """Updates the average of a task after each optimiser step and evaluates with it.

    The average itself belongs to the task, which finds it in a checkpoint in every stage, while callbacks
    are restored for fitting alone.
    """

    def __init__(self) -> None:
        self._swapped = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the average at the first weights."""
        if pl_module.average is None:
            pl_module.average = WeightAverage(pl_module, pl_module.ema_decay)  # pyright: ignore

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Updates once for every optimiser step, not for every accumulated batch."""
        average = _average(pl_module)
        if average is not None and trainer.global_step != average.step:
            average.step = trainer.global_step
            average.update(pl_module)

    def _swap_in(self, pl_module: LightningModule) -> None:
        average = _average(pl_module)
        if average is not None and not average.swapped:
            average.swap(pl_module)

    def _swap_out(self, pl_module: LightningModule) -> None:
        average = _average(pl_module)
        if average is not None and average.swapped:
            average.swap(pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the average in place."""
        self._swap_in(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the trained weights back, before any checkpoint is written."""
        self._swap_out(pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the average in place."""
        self._swap_in(pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the trained weights back."""
        self._swap_out(pl_module)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the average in place."""
        self._swap_in(pl_module)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the trained weights back."""
        self._swap_out(pl_module)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Puts the trained weights back if a validation was interrupted."""
        self._swap_out(pl_module)


def _average(task: LightningModule) -> WeightAverage | None:
    return getattr(task, "average", None)
