"""Forecasting of the next steps."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from headway.core.errors import UserError
from headway.core.files import save_figure
from headway.core.training import OptimizerFactory, ScheduleFactory, Strategy, Task
from headway.core.training.run_folder import RunFolder
from headway.timeseries.pictures import windows_figure

SHOWN = 3


class Forecasting(Task):
    """Trains ``backbone(x, mask=, marks=, future_marks=) -> forecast``.

    It logs ``train_loss`` and, for ``val`` and ``test``, ``mse`` and ``mae`` of scaled series over every
    window, step and series, as published tables have them. Missing values count nowhere. The run's
    ``pictures`` folder gets forecasts of the test part in the units of the file.

    Args:
        backbone: A forecaster.
        optimizer: What moves the weights.
        schedule: How the learning rate moves, or None for a constant one.
        finetune: Freezes or injects parameters before training.
        layer_decay: Ratio of the learning rates of neighbouring depths.
        ema: Decay of the running average of the weights.
        loss: ``mse`` or ``mae``.

    Shape:
        A batch is a dictionary as ``Windows`` makes it.
    """

    monitor = "val_mse"
    monitor_mode = "min"

    def __init__(
        self,
        *,
        backbone: nn.Module,
        optimizer: OptimizerFactory,
        schedule: ScheduleFactory | None = None,
        finetune: Strategy | None = None,
        layer_decay: float | None = None,
        ema: float | None = None,
        loss: Literal["mse", "mae"] = "mse",
    ) -> None:
        super().__init__(
            backbone=backbone,
            optimizer=optimizer,
            schedule=schedule,
            finetune=finetune,
            layer_decay=layer_decay,
            ema=ema,
        )
        self.loss = loss
        self.scores = nn.ModuleDict(
            {f"{split}_{kind}": MeanMetric() for split in ("val", "test") for kind in ERRORS}
        )
        self._shown: list[tuple[Tensor, Tensor, Tensor]] = []

    def setup(self, stage: str) -> None:
        """Checks that model and data speak of the same windows."""
        super().setup(stage)
        data: Any = getattr(self.trainer, "datamodule", None)
        for name, found in (
            ("context_length", getattr(data, "length", None)),
            ("horizon", getattr(data, "steps", None)),
        ):
            own = getattr(self.backbone, name, None)
            if own is not None and found is not None and own != found:
                raise UserError(
                    f"the data have {name} {found} and the model {own}; set the model's {name} to "
                    f"{found}, or leave data.{name} out"
                )

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Returns the loss."""
        loss = mean_error(self.loss, self._forecast(batch), batch)[0]
        self.log("train_loss", loss, prog_bar=True, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        """Adds a batch to the scores."""
        self._score(batch, "val")

    def test_step(self, batch: dict[str, Tensor], index: int) -> None:
        """Adds a batch to the scores."""
        forecast = self._score(batch, "test")
        if len(self._shown) < SHOWN:
            # One window of a batch: neighbours look alike.
            x, y = batch["x"][0].clone(), batch["y"][0].clone()
            if "mask" in batch:
                x[~batch["mask"][0]] = torch.nan
                y[~batch["y_mask"][0]] = torch.nan
            self._shown.append((x.cpu(), y.cpu(), forecast[0].float().cpu()))

    def predict_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Returns scaled forecasts, (B, H, N)."""
        return self._forecast(batch)

    def on_test_epoch_start(self) -> None:
        """Forgets the windows of the last test."""
        self._shown = []

    def on_test_end(self) -> None:
        """Draws forecasts."""
        data: Any = getattr(self.trainer, "datamodule", None)
        scaler = getattr(data, "scaler", None)
        if not self.trainer.is_global_zero or not self._shown or scaler is None:
            return
        windows = [
            tuple(scaler.inverse(part.double().numpy()) for part in window)
            for window in self._shown
        ]
        folder = RunFolder(Path(self.trainer.default_root_dir)).pictures
        save_figure(windows_figure(windows, scaler.names), folder / "test_forecasts.png")

    def _forecast(self, batch: dict[str, Tensor]) -> Tensor:
        return self.backbone(
            batch["x"],
            mask=batch.get("mask"),
            marks=batch.get("marks"),
            future_marks=batch.get("future_marks"),
        )

    def _score(self, batch: dict[str, Tensor], split: str) -> Tensor:
        forecast = self._forecast(batch)
        for kind in ERRORS:
            value, count = mean_error(kind, forecast, batch)
            score: Any = self.scores[f"{split}_{kind}"]
            score.update(value, count)
            self.log(f"{split}_{kind}", score, prog_bar=True, batch_size=len(forecast))
        return forecast


ERRORS = {"mse": torch.square, "mae": torch.abs}


def mean_error(kind: str, forecast: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Returns the mean error over known values, and how many there are.

    Args:
        kind: ``mse`` or ``mae``.
        forecast: What the model said.
        batch: With ``y`` and, where values are missing, ``y_mask``.

    Shape:
        forecast: (B, H, N). Output: (), ().
    """
    mask = batch.get("y_mask")
    if mask is None:
        error = ERRORS[kind](forecast - batch["y"])
        return error.mean(), torch.tensor(error.numel(), device=error.device)
    # Before the error is taken: what stands in the place of a missing value may be NaN.
    difference = (forecast - batch["y"]).masked_fill(~mask, 0.0)
    count = mask.sum()
    return ERRORS[kind](difference).sum() / count.clamp_min(1), count
