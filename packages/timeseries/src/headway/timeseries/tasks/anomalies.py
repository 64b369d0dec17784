"""Anomaly detection: steps that a model of normal series cannot reconstruct."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from headway.core.errors import UserError
from headway.core.files import save_figure
from headway.core.training import Passed, Task, TrainingOptions
from headway.timeseries.data.whole_windows import WholeWindows
from headway.timeseries.figures import anomaly_figure
from headway.timeseries.metrics.anomalies import (
    f1,
    moving_zscore,
    nearest_window,
    point_adjusted,
    ranking,
)
from headway.timeseries.metrics.step_scores import StepScores
from headway.timeseries.models.reconstruction import check_reconstructs, reconstruct
from headway.timeseries.tasks.scores import known_mean


class DetectAnomalies(Task):
    """Trains a forecaster whose horizon is the length of its window to reconstruct windows.

    The score of a step is its squared error, averaged over the windows that hold it and over its series.
    A step is flagged if its score exceeds the threshold: the quantile of the scores of the validation part
    above which the share ``ratio`` of them lies. Nothing of the test part is used for it.

    It logs ``train_loss`` and ``val_loss``, and for test files with labels ``test_roc_auc`` and
    ``test_average_precision`` of the scores, ``test_f1`` of the flags, and ``test_f1_point_adjusted``, which
    counts a labelled stretch as found as a whole once one of its steps is flagged. The last flatters;
    ``test_f1_point_adjusted_random`` is what random flags in the same number get, the mean of ten draws. The
    areas of two simple scores stand beside those of the model: the distance to the nearest training window of
    the same length (``test_roc_auc_nearest``, ``test_average_precision_nearest``), and a moving z-score over
    as many steps (``_zscore``).

    Args:
        backbone: A forecaster whose horizon is its context length.
        ratio: Share of normal steps that may be flagged.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is a dictionary as ``WholeWindows`` makes it.

    Raises:
        UserError: If the ratio is not between 0 and 1.
    """

    monitor = "val_loss"
    monitor_mode = "min"
    threshold: Tensor

    def __init__(
        self,
        *,
        backbone: nn.Module,
        ratio: float = 0.01,
        **training: Passed[TrainingOptions],
    ) -> None:
        super().__init__(backbone=backbone, **training)
        if not 0 < ratio < 1:
            raise UserError(f"ratio is {ratio:g}; the share of flagged normal steps lies in 0 to 1")
        self.ratio = ratio
        # In the checkpoint, so that a test knows it.
        self.register_buffer("threshold", torch.tensor(torch.nan, dtype=torch.float64))
        self.loss = MeanMetric()
        self.steps = nn.ModuleDict()

    def setup(self, stage: str) -> None:
        """Checks that the model can answer with the windows of the data, and makes room for scores."""
        super().setup(stage)
        data: Any = getattr(self.trainer, "datamodule", None)
        check_reconstructs(self.backbone, getattr(data, "length", None))
        for split in ("val", "test"):
            windows = getattr(data, f"{split}_set", None)
            if isinstance(windows, WholeWindows):
                self.steps[split] = StepScores(windows.end - windows.start)

    def preprocessing(self) -> dict[str, Any]:
        """Returns what the data module says, what the model is for, and the threshold."""
        threshold = None if self.threshold.isnan() else float(self.threshold)
        return {**super().preprocessing(), "task": "anomalies", "threshold": threshold}

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Returns the loss."""
        loss, _ = known_mean(self._error(batch).square(), batch.get("mask"))
        self.log("train_loss", loss, prog_bar=True, on_step=False, on_epoch=True)
        return self.with_penalties(loss)

    def on_validation_epoch_start(self) -> None:
        """Forgets the scores of earlier weights."""
        self._forget("val")

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        """Adds a batch to the scores of the validation part."""
        error = self._error(batch)
        self.loss.update(*known_mean(error.square(), batch.get("mask")))
        self._add("val", error, batch)
        self.log("val_loss", self.loss, prog_bar=True, batch_size=len(error))

    def on_validation_epoch_end(self) -> None:
        """Sets the threshold."""
        if "val" in self.steps:
            scores = self._of("val").compute()
            found = torch.nanquantile(scores, 1 - self.ratio)
            self.threshold.copy_(found)

    def on_test_epoch_start(self) -> None:
        """Forgets the scores of the last test."""
        self._forget("test")

    def test_step(self, batch: dict[str, Tensor], index: int) -> None:
        """Adds a batch to the scores of the test part."""
        self._add("test", self._error(batch), batch)

    def on_test_epoch_end(self) -> None:
        """Logs the metrics, if the labels are known."""
        data: Any = getattr(self.trainer, "datamodule", None)
        labels = getattr(data, "test_labels", None)
        if labels is None or "test" not in self.steps:
            return
        if self.threshold.isnan():
            raise UserError(
                "there is no threshold: it comes from the validation part, and this model was trained "
                "without one; give borders with a share for validation"
            )
        truth = labels.numpy()
        scores = self._scores()
        flagged = scores > float(self.threshold)
        found = ranking(scores, truth)
        values = self._values("test")
        simple = {
            "nearest": nearest_window(self._values("train"), values, data.length),
            "zscore": moving_zscore(values, data.length),
        }
        random = np.random.default_rng(0)
        drawn = [flagged[random.permutation(len(flagged))] for _ in range(10)]
        chance = [f1(point_adjusted(steps, truth), truth) for steps in drawn]
        logged = {
            "roc_auc": found.roc_auc,
            "average_precision": found.average_precision,
            "f1": f1(flagged, truth),
            "f1_point_adjusted": f1(point_adjusted(flagged, truth), truth),
            "f1_point_adjusted_random": float(np.mean(chance)),
            "flagged": float(flagged.mean()),
        }
        for name, score in simple.items():
            areas = ranking(score, truth)
            logged[f"roc_auc_{name}"] = areas.roc_auc
            logged[f"average_precision_{name}"] = areas.average_precision
        for name, value in logged.items():
            self.log(f"test_{name}", torch.tensor(value, dtype=torch.float32))

    def predict_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Returns the squared errors of scaled values."""
        return self._error(batch).square()

    def draw(self, split: str) -> None:
        """Draws the test part with its scores and what is flagged."""
        data: Any = getattr(self.trainer, "datamodule", None)
        if split != "test" or "test" not in self.steps or not self._of("test").update_called:
            return
        # On every process: what each has seen is put together.
        scores = self._scores()
        if self.pictures is None:
            return
        labels = getattr(data, "test_labels", None)
        figure = anomaly_figure(
            np.arange(len(scores)),
            self._values("test"),
            scores,
            float(self.threshold),
            data.series,
            None if labels is None else labels.numpy(),
        )
        save_figure(figure, self.pictures / "test_anomalies.png")

    def _error(self, batch: dict[str, Tensor]) -> Tensor:
        x, mask = batch["x"], batch.get("mask")
        return reconstruct(self.backbone, x, mask=mask, marks=batch.get("marks")) - x

    def _add(self, split: str, error: Tensor, batch: dict[str, Tensor]) -> None:
        self._of(split).update(error, batch["row"], batch.get("mask"))

    def _of(self, split: str) -> StepScores:
        return self.steps[split]  # pyright: ignore[reportReturnType]

    def _forget(self, split: str) -> None:
        if split in self.steps:
            self._of(split).reset()

    def _scores(self) -> Any:
        """Returns the scores of the test part; a step without a known value has the lowest."""
        scores = self._of("test").compute().cpu().numpy()
        return np.nan_to_num(scores, nan=0.0)

    def _values(self, split: str) -> Any:
        """Returns the scaled values of a part, NaN where missing."""
        data: Any = getattr(self.trainer, "datamodule", None)
        windows: WholeWindows = getattr(data, f"{split}_set")
        rows = slice(windows.start, windows.end)
        values = windows.values[rows].double().numpy().copy()
        if windows.mask is not None:
            values[~windows.mask[rows].numpy()] = np.nan
        return values
