"""The data of tasks whose models answer with the window that they read: imputation and anomalies."""

from typing import Any

import torch
from torch.utils.data import Dataset

from headway.core.errors import InputError, UserError
from headway.core.training import Passed
from headway.core.training.loader import Seeded
from headway.timeseries.data.base import WindowData, WindowOptions
from headway.timeseries.data.borders import find_borders, parse_borders
from headway.timeseries.data.forecasting import chosen_places
from headway.timeseries.data.hiding import (
    EveryRatio,
    HiddenBatches,
    HiddenWindows,
    HidePoints,
    Hiding,
)
from headway.timeseries.data.labels import labels_of
from headway.timeseries.data.scaler import Scaler
from headway.timeseries.data.steps import same_step
from headway.timeseries.data.table import SeriesTable, read_table
from headway.timeseries.data.whole_windows import WholeWindows
from headway.timeseries.data.windows import WindowBatches

RATIOS = (0.125, 0.25, 0.375, 0.5)


class ReconstructionOptions(WindowOptions, total=False):
    """What a ``ReconstructionData`` passes on."""

    borders: str | list[float]
    columns: list[str] | None
    freq: str | None
    marks: bool


class ReconstructionData(WindowData):
    """Windows of the series of a file, scaled by mean and deviation of the training part.

    Args:
        path: The file, wide (stamps, a column per series) or long (unique_id, ds, y).
        borders: Shares of training, validation and test, or ``ett_hour`` or ``ett_minute``.
        columns: Which series to read; all if None.
        freq: Step of time, such as ``h``, ``B`` or ``MS``; rows that are not there are then missing values.
            Read from the stamps if None.
        marks: Whether the model is given calendar marks.
        **windows: As of every ``WindowData``: context_length, batch_size, and of every ``DataModule``.
    """

    def __init__(
        self,
        *,
        path: str,
        borders: str | list[float] = "0.7 0.1 0.2",
        columns: list[str] | None = None,
        freq: str | None = None,
        marks: bool = False,
        **windows: Passed[WindowOptions],
    ) -> None:
        super().__init__(horizon=None, period=None, marks=marks, **windows)
        self.path, self.columns, self.freq = path, columns, freq
        self.borders = parse_borders(borders)
        self.scaler: Scaler | None = None

    def seeded(self, data: Dataset[Any]) -> Seeded:
        """Lets windows be cut a batch at a time."""
        if isinstance(data, WholeWindows):
            return WindowBatches(data, seed=self.seed)
        if isinstance(data, HiddenWindows):
            return HiddenBatches(data, seed=self.seed)
        return super().seeded(data)

    def preprocessing(self) -> dict[str, Any]:
        """Returns the scaler, the step of time and the length of a window."""
        self.setup("fit")
        assert self.scaler is not None
        return {
            **self.scaler.as_dict(),
            "step": self.step,
            "context_length": self.length,
            "marks": self.with_marks,
        }

    def cut(
        self, table: SeriesTable, columns: list[str] | None, overlap: int
    ) -> dict[str, WholeWindows | None]:
        """Returns the windows of ``train``, ``val`` and ``test``, None for an empty part.

        Args:
            table: The series.
            columns: Which of them to read.
            overlap: Rows before validation and test that their windows may read.
        """
        chosen = chosen_places(table, columns)
        self.series = tuple(table.names[place] for place in chosen)
        self.length = self.of_model("context_length", self.context_length)
        self.step = table.step
        borders = find_borders(len(table.values), self.borders)
        self.scaler = Scaler.fit(table.values[: borders.train, chosen], self.series)
        shared = self.scaled(table)
        parts: dict[str, WholeWindows | None] = {}
        for name in ("train", "val", "test"):
            start, end = borders.part(name, overlap)
            parts[name] = (
                None
                if borders.empty(name)
                else WholeWindows(**shared, start=start, end=end, name=name)
            )
        return parts

    def scaled(self, table: SeriesTable) -> dict[str, Any]:
        """Returns what windows are cut from, scaled as the training part says, and how long they are."""
        assert self.scaler is not None
        values = table.values[:, chosen_places(table, list(self.series))]
        tensors = self.tensors(values, table.stamps, self.scaler)
        return {**tensors, "context_length": self.length}


class ImputationData(ReconstructionData):
    """Windows of which some known values are hidden, for a model to find again.

    A training window draws one of the ratios; validation and test show every window with each of them, the
    same values hidden every time. What is hidden is a function of seed, epoch and index. Validation and
    test windows read rows of the part before, as published tables have it. Values that are missing in the
    file are never hidden, and never scored.

    Args:
        path: The file, wide (stamps, a column per series) or long (unique_id, ds, y).
        ratios: Shares of the known values that are hidden.
        hiding: Chooses the places: single values, or stretches of a series.
        **windows: As of every ``ReconstructionData``: borders, columns, freq, marks, context_length,
            batch_size, and of every ``DataModule``.

    Raises:
        InputError: If the file cannot be used.
        UserError: If a ratio is not between 0 and 1, or a part is too short for a window.
    """

    def __init__(
        self,
        *,
        path: str,
        ratios: list[float] | None = None,
        hiding: Hiding | None = None,
        **windows: Passed[ReconstructionOptions],
    ) -> None:
        super().__init__(path=path, **windows)
        self.ratios = RATIOS if ratios is None else tuple(ratios)
        for ratio in self.ratios or (0,):
            if not 0 < ratio < 1:
                raise UserError(f"ratios are shares between 0 and 1, such as 0.25; got {ratio:g}")
        self.hiding = hiding if hiding is not None else HidePoints()

    def setup(self, stage: str | None = None) -> None:
        """Reads, scales and cuts the file, once."""
        if self.scaler is not None:
            return
        parts: dict[str, Dataset[Any] | None] = {}
        overlap = self.of_model("context_length", self.context_length)
        for name, windows in self.cut(
            read_table(self.path, freq=self.freq), self.columns, overlap
        ).items():
            kind = HiddenWindows if name == "train" else EveryRatio
            parts[name] = None if windows is None else kind(windows, self.hiding, self.ratios)
        self.take(parts)


class AnomalyData(ReconstructionData):
    """Windows of series that are as they should be, and of a part in which anomalies are looked for.

    The validation part of ``path`` sets the threshold.

    Args:
        path: The file to train on, wide (stamps, a column per series) or long (unique_id, ds, y).
        test: The file to look for anomalies in; the last part of ``path`` if None.
        labels: Column of 0 and 1 that says which steps are anomalies; it is no series. Without it the test
            gives scores and pictures, and no metrics.
        **windows: As of every ``ReconstructionData``: borders, columns, freq, marks, context_length,
            batch_size, and of every ``DataModule``.

    Raises:
        InputError: If a file cannot be used, or a label is neither 0 nor 1.
        UserError: If a part is too short for a window.
    """

    def __init__(
        self,
        *,
        path: str,
        test: str | None = None,
        labels: str | None = None,
        **windows: Passed[ReconstructionOptions],
    ) -> None:
        super().__init__(path=path, **windows)
        self.test, self.labels = test, labels
        self.test_labels: torch.Tensor | None = None

    def setup(self, stage: str | None = None) -> None:
        """Reads, scales and cuts the files, once."""
        if self.scaler is not None:
            return
        table = read_table(self.path, freq=self.freq)
        columns = self.columns
        if columns is None and self.labels is not None:
            columns = [name for name in table.names if name != self.labels]
        # A window of the test part reads no row that was trained on.
        parts = self.cut(table, columns, 0)
        if self.test is not None:
            table = read_table(self.test, freq=self.freq, usual=self.step)
            if not same_step(table.step, self.step):
                raise InputError(
                    table.name, f"has a step of {table.step}, {self.path} has {self.step}"
                )
            end = len(table.values)
            parts["test"] = WholeWindows(**self.scaled(table), start=0, end=end, name="test")
        windows = parts["test"]
        if windows is not None and self.labels is not None:
            found = labels_of(table, self.labels)[windows.start : windows.end]
            self.test_labels = torch.from_numpy(found)
        self.take(parts)

    def preprocessing(self) -> dict[str, Any]:
        """Returns what other windows need, and the column that is no series."""
        return {**super().preprocessing(), "labels": self.labels}
