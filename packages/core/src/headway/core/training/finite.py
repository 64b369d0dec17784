"""The first number that is no number ends the training, before it reaches a weight or a file."""

import math
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer

from headway.core.finite import non_finite
from headway.core.training.run_folder import RunFolder


class NonFiniteError(RuntimeError):
    """Training met a loss, a gradient or a weight that is nan or infinite; the message says what to do."""


class FiniteTraining(Callback):
    """Stops at the first loss or gradient norm that is no finite number.

    It looks before the optimiser moves, so the weights are still those of the last good step. What a
    gradient scaler (16-bit float) skips by itself is no failure. With several processes all of them stop
    together, at the gradients that they share.
    """

    def __init__(self) -> None:
        self.last: float | None = None
        self._found: float | None = None

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        """Looks at the loss."""
        value = float(loss.detach()) / _loss_scale(trainer)
        if math.isfinite(value):
            self.last = value
            return
        self._found = value
        if trainer.world_size == 1:
            self._stop(trainer, f"the loss is {value}")

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Looks at the gradients of the optimiser's parameters."""
        norm = math.nan if self._found is not None else gradient_norm(optimizer)
        scaled = _scaler(trainer) is not None and self._found is None
        good = math.isfinite(norm) or scaled
        if trainer.world_size > 1:
            good = trainer.strategy.reduce_boolean_decision(good, all=True)
        if not good:
            what = f"the loss is {self._found}" if self._found is not None else ""
            self._stop(trainer, what or f"the norm of the gradients is {norm}")

    def _stop(self, trainer: Trainer, what: str) -> None:
        raise NonFiniteError(_advice(trainer, what, self.last))


def check_metrics(trainer: Trainer) -> None:
    """Raises if a loss that was measured is no finite number.

    Raises:
        NonFiniteError: It names the loss.
    """
    for name, value in sorted(trainer.callback_metrics.items()):
        number = float(value)
        if name.split("/")[0].removesuffix("_epoch").endswith("loss") and not math.isfinite(number):
            raise NonFiniteError(_advice(trainer, f"{name} is {number}", None))


def check_weights(trainer: Trainer, module: nn.Module) -> None:
    """Raises if a weight or a statistic of a module is no finite number.

    Raises:
        NonFiniteError: It names the first such tensor.
    """
    name = next(non_finite(module.state_dict()), None)
    if name is not None:
        raise NonFiniteError(_advice(trainer, f"{name} holds nan or infinity", None))


def gradient_norm(optimizer: Optimizer) -> float:
    """Returns the norm of all gradients of an optimiser's parameters; 0 where there are none."""
    gradients = [
        parameter.grad
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter.grad is not None
    ]
    return float(nn.utils.get_total_norm(gradients)) if gradients else 0.0


def _scaler(trainer: Trainer) -> Any:
    return getattr(trainer.precision_plugin, "scaler", None)


def _loss_scale(trainer: Trainer) -> float:
    scaler = _scaler(trainer)
    return 1.0 if scaler is None else float(scaler.get_scale())


def _advice(trainer: Trainer, what: str, last: float | None) -> str:
    folder = RunFolder(Path(trainer.default_root_dir))
    before = "" if last is None else f" (the last finite loss was {last:.4g})"
    kept = (
        f"the last good state is {folder.last}"
        if folder.last.is_file()
        else "nothing was saved yet"
    )
    return (
        f"stopped at step {trainer.global_step}: {what}{before}; lower the learning rate or warm it up, "
        f"clip gradients (--trainer.gradient_clip_val 1), train with --trainer.precision 32, or look for "
        f"such values in the data; {kept}"
    )
