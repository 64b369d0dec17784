"""Forecasting of the next steps."""

from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from headway.core.errors import UserError
from headway.core.files import save_figure
from headway.core.training import Passed, Task, TrainingOptions
from headway.timeseries.figures import windows_figure
from headway.timeseries.models.probabilistic import point_forecast
from headway.timeseries.tasks.calibration import Residuals
from headway.timeseries.tasks.losses import FittingLoss, ForecastLoss
from headway.timeseries.tasks.scores import KINDS, known_mean, scores

SHOWN = 3


class Forecasting(Task):
    """Trains ``backbone(x, mask=, marks=, future_marks=, static=) -> forecast``.

    A forecast is a point, quantiles or a distribution for every step and series. The task logs
    ``train_loss`` and, for ``val`` and ``test``, the scores of ``tasks.scores``: ``mse`` and ``mae`` of
    scaled series over every window, step and series, as published tables have them, the same in the units
    of the series (``mse_original``, ``mae_original``), ``crps`` and coverage of a probabilistic forecast.
    Missing values, and series that are no target, count nowhere.

    The run's ``pictures`` folder gets forecasts of the test part in the units of the file. What a model of
    points missed on the validation part goes to ``preprocessing.json`` as conformal intervals.

    Args:
        backbone: A forecaster.
        loss: What is made small; None for what fits the forecast: squared error of points, quantile loss,
            negative log-likelihood of a distribution.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is a dictionary as ``Windows`` makes it.
    """

    monitor = "val_mse"
    monitor_mode = "min"

    def __init__(
        self,
        *,
        backbone: nn.Module,
        loss: ForecastLoss | None = None,
        **training: Passed[TrainingOptions],
    ) -> None:
        super().__init__(backbone=backbone, **training)
        self.loss: ForecastLoss = loss if loss is not None else FittingLoss()
        self.quantiles: tuple[float, ...] | None = getattr(backbone, "quantiles", None)
        self.scores = nn.ModuleDict(
            {f"{split}_{kind}": MeanMetric() for split in ("val", "test") for kind in KINDS}
        )
        self.residuals = Residuals()
        self._shown: list[tuple[Tensor, Tensor, Tensor]] = []

    def setup(self, stage: str) -> None:
        """Checks that model and data speak of the same windows and covariates."""
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
        check_covariates(self.backbone, getattr(data, "covariates", {}))

    def preprocessing(self) -> dict[str, Any]:
        """Returns what the data module says, and the conformal intervals of a model of points."""
        notes = super().preprocessing()
        intervals = self.residuals.intervals()
        return notes if intervals is None else {**notes, "conformal": intervals}

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Returns the loss."""
        mask = batch.get("y_mask")
        y = batch["y"] if mask is None else batch["y"].masked_fill(~mask, 0.0)
        loss, _ = known_mean(self.loss(self._forecast(batch), y, self.quantiles), mask)
        self.log("train_loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=len(y))
        return self.with_penalties(loss)

    def on_validation_epoch_start(self) -> None:
        """Forgets what was missed with earlier weights."""
        self.residuals.clear()

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        """Adds a batch to the scores, and to what intervals are made of."""
        answer = self._score(batch, "val")
        if self.quantiles is None and isinstance(answer, Tensor):
            error = (answer - batch["y"]).abs()
            self.residuals.add(error, batch.get("y_mask"), batch.get("item"))

    def test_step(self, batch: dict[str, Tensor], index: int) -> None:
        """Adds a batch to the scores."""
        forecast = point_forecast(self._score(batch, "test"), self.quantiles)
        if len(self._shown) < SHOWN:
            # One window of a batch: neighbours look alike.
            window = {name: batch[name][0].clone() for name in ("x", "y")}
            for name, mask in (("x", "mask"), ("y", "y_mask")):
                if mask in batch:
                    window[name][~batch[mask][0]] = torch.nan
            parts = [window["x"], window["y"], forecast[0].float()]
            if "scale" in batch:
                parts = [part.double() * batch["scale"][0] + batch["centre"][0] for part in parts]
            x, y, said = (part.cpu() for part in parts)
            self._shown.append((x, y, said))

    def predict_step(self, batch: dict[str, Tensor], index: int) -> Any:
        """Returns scaled forecasts as the model gives them."""
        return self._forecast(batch)

    def on_test_epoch_start(self) -> None:
        """Forgets the windows of the last test."""
        self._shown = []

    def draw(self, split: str) -> None:
        """Draws forecasts of the test part."""
        folder = self.pictures
        data: Any = getattr(self.trainer, "datamodule", None)
        names = getattr(data, "series", None)
        if split != "test" or folder is None or not self._shown or names is None:
            return
        windows = [tuple(part.numpy() for part in window) for window in self._shown]
        shown = windows[0][0].shape[1]
        names = names if len(names) == shown else [f"series {k + 1}" for k in range(shown)]
        save_figure(windows_figure(windows, names), folder / "test_forecasts.png")

    def _forecast(self, batch: dict[str, Tensor]) -> Any:
        return self.backbone(
            batch["x"],
            mask=batch.get("mask"),
            marks=batch.get("marks"),
            future_marks=batch.get("future_marks"),
            static=batch.get("static"),
        )

    def _score(self, batch: dict[str, Tensor], split: str) -> Any:
        answer = self._forecast(batch)
        for kind, value, weight in scores(answer, batch, self.quantiles):
            score: Any = self.scores[f"{split}_{kind}"]
            score.update(value, weight)
            self.log(
                f"{split}_{kind}",
                score,
                prog_bar=kind in ("mse", "mae"),
                batch_size=len(batch["y"]),
            )
        return answer


def check_covariates(model: nn.Module, given: Any) -> None:
    """Raises if the data have covariates that a model cannot read.

    Args:
        model: A forecaster.
        given: Kind of covariate -> names of the columns.

    Raises:
        UserError: It names the model, the kind and the columns.
    """
    able = getattr(model, "covariates", frozenset())
    for kind, names in given.items():
        if names and kind not in able:
            raise UserError(
                f"{type(model).__name__} does not read {kind} covariates ({', '.join(names)}); leave "
                f"data.{kind} out, or use ITransformer, which does"
            )
