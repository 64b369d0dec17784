"""What data modules of windows have in common."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from headway.core.errors import UserError
from headway.core.training import DataModule, LoaderOptions, Passed
from headway.core.training.loader import Seeded
from headway.timeseries.data.clock import calendar_marks
from headway.timeseries.data.panel_windows import PanelWindows
from headway.timeseries.data.scaler import Scaler
from headway.timeseries.data.windows import Batch, WindowBatches, Windows


class WindowOptions(LoaderOptions, total=False):
    """What a ``WindowData`` passes on."""

    context_length: int | None
    batch_size: int


class ForecastOptions(WindowOptions, total=False):
    """What a ``WindowData`` with a future passes on."""

    horizon: int | None
    period: int | None


class WindowData(DataModule):
    """Batches of windows, cut a batch at a time.

    Args:
        context_length: Steps that the model reads; the model's own if None.
        horizon: Steps that it forecasts; the model's own if None.
        period: Steps of a season, such as 24 for hours of a day; with it MASE is logged.
        marks: Whether the model is given calendar marks.
        batch_size: Windows of a batch.
        **loader: As of every ``DataModule``: workers, seed, shuffle, drop_last, eval_batch_size.
    """

    def __init__(
        self,
        *,
        context_length: int | None = None,
        horizon: int | None = None,
        period: int | None = None,
        marks: bool = False,
        batch_size: int = 32,
        **loader: Passed[LoaderOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, **loader)
        self.context_length, self.horizon = context_length, horizon
        self.period, self.with_marks = period, marks

    def seeded(self, data: Dataset[Any]) -> Seeded:
        """Lets windows be cut a batch at a time."""
        if isinstance(data, Windows | PanelWindows):
            return WindowBatches(data, seed=self.seed)
        return super().seeded(data)

    @staticmethod
    def collate(batch: Batch) -> Batch:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Leaves the batch as the data set made it."""
        return batch

    def of_model(self, name: str, own: int | None) -> int:
        """Returns a length of the windows: the data's own, or that of the model in training.

        Raises:
            UserError: If neither says it.
        """
        if own is not None:
            return own
        task = getattr(self.trainer, "lightning_module", None)
        length = getattr(getattr(task, "backbone", None), name, None)
        if length is None:
            raise UserError(f"{name} is not known; give data.{name} in steps")
        return length

    def tensors(
        self, values: NDArray[np.float64], stamps: pd.Index, scaler: Scaler
    ) -> dict[str, Any]:
        """Returns scaled values, what is known of them, and marks, as windows are cut from them.

        Args:
            values: Of the series, NaN where missing.
            stamps: Moments.
            scaler: Of the series.

        Shape:
            values: (T, N).
        """
        known = ~np.isnan(values)
        scaled = np.where(known, scaler.forward(values), 0.0)
        marks = calendar_marks(stamps) if self.with_marks else np.zeros((0, 0))
        return {
            "values": torch.from_numpy(scaled).float(),
            "mask": None if known.all() else torch.from_numpy(known),
            "marks": torch.from_numpy(marks) if marks.shape[1] else None,
        }

    def take(self, parts: Mapping[str, Dataset[Any] | None]) -> None:
        """Takes the windows of ``train``, ``val`` and ``test``."""
        self.train_set, self.val_set = parts["train"], parts["val"]
        self.test_set = self.predict_set = parts["test"]

    def use(
        self,
        parts: Mapping[str, Windows | PanelWindows | None],
        series: Sequence[str],
        length: int,
        horizon: int,
    ) -> None:
        """Takes the windows of ``train``, ``val`` and ``test``, and what they are made of."""
        self.take(parts)
        self.series = tuple(series)
        self.length, self.steps = length, horizon
