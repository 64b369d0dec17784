"""The data of a forecasting task: one file, its parts, its windows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headway.core.errors import InputError, UserError
from headway.core.training import Passed
from headway.timeseries.data.base import ForecastOptions, WindowData
from headway.timeseries.data.borders import find_borders, parse_borders
from headway.timeseries.data.scaler import Scaler
from headway.timeseries.data.seasonal import seasonal_errors
from headway.timeseries.data.table import SeriesTable, read_table
from headway.timeseries.data.windows import Units, Windows


class ForecastingData(WindowData):
    """Windows of the series of a file, wide (stamps, a column per series) or long (unique_id, ds, y).

    Series are scaled by mean and deviation of the training part. Every window of a part counts, the last
    incomplete batch included; validation and test windows read their context from the part before.

    Args:
        path: The file.
        borders: Shares of training, validation and test, or ``ett_hour`` or ``ett_minute``.
        columns: Which series to read; all if None.
        targets: Which of them to forecast; all if None. With one target among many columns, all go in and
            one comes out.
        freq: Step of time, such as ``h``, ``B`` or ``MS``; rows that are not there are then missing values.
            Read from the stamps if None.
        marks: Whether the model is given calendar marks.
        **windows: As of every ``WindowData``: context_length, horizon, period, batch_size, and of every
            ``DataModule``.

    Raises:
        InputError: If the file cannot be used.
        UserError: If a part is too short for a window.
    """

    def __init__(
        self,
        *,
        path: str,
        borders: str | list[float] = "0.7 0.1 0.2",
        columns: list[str] | None = None,
        targets: list[str] | None = None,
        freq: str | None = None,
        marks: bool = True,
        **windows: Passed[ForecastOptions],
    ) -> None:
        super().__init__(marks=marks, **windows)
        self.path = path
        self.borders = parse_borders(borders)
        self.columns, self.targets, self.freq = columns, targets, freq
        self.table: SeriesTable | None = None
        self.scaler: Scaler | None = None

    def setup(self, stage: str | None = None) -> None:
        """Reads, scales and cuts the file, once."""
        if self.table is not None:
            return
        length = self.of_model("context_length", self.context_length)
        horizon = self.of_model("horizon", self.horizon)
        table = read_table(self.path, freq=self.freq)
        chosen = chosen_places(table, self.columns)
        names, values = tuple(table.names[i] for i in chosen), table.values[:, chosen]
        borders = find_borders(len(values), self.borders)
        known = ~np.isnan(values)
        silent = ~known[: borders.train].any(axis=0)
        if silent.any():
            raise InputError(
                f"{table.name}, series {names[int(np.argmax(silent))]}",
                f"has no value in the training part, the first {borders.train} rows; leave it out "
                "(data.columns names the series to read), or give other borders",
            )
        self.scaler = Scaler.fit(values[: borders.train], names)
        targets = chosen_targets(names, self.targets, table.name)
        shared = {
            **self.tensors(values, table.stamps, self.scaler),
            "targets": targets,
            "units": self._units(values[: borders.train]),
            "context_length": length,
            "horizon": horizon,
        }
        parts: dict[str, Windows | None] = {}
        for name in ("train", "val", "test"):
            start, end = borders.part(name, length)
            parts[name] = (
                None if borders.empty(name) else Windows(**shared, start=start, end=end, name=name)
            )
        self.use(parts, names, length, horizon)
        self.table = table

    def preprocessing(self) -> dict[str, Any]:
        """Returns the scaler, the step of time and the lengths of a window."""
        self.setup()
        assert self.scaler is not None
        assert self.table is not None
        return {
            **self.scaler.as_dict(),
            "step": self.table.step,
            "context_length": self.length,
            "horizon": self.steps,
            "marks": self.with_marks,
            "targets": self.targets,
        }

    def _units(self, train: NDArray[np.float64]) -> Units:
        assert self.scaler is not None
        seasonal = None
        if self.period is not None:
            error = seasonal_errors(train, self.period) / self.scaler.std
            seasonal = torch.from_numpy(error).float()
        return Units(
            centre=torch.from_numpy(self.scaler.mean),
            scale=torch.from_numpy(self.scaler.std),
            seasonal=seasonal,
        )


def chosen_targets(
    names: Sequence[str], targets: Sequence[str] | None, source: str
) -> torch.Tensor | None:
    """Returns which series are to be forecast, or None for all.

    Raises:
        UserError: If a target is none of the series.
    """
    if targets is None:
        return None
    for name in targets:
        if name not in names:
            raise UserError(
                f"target {name!r} is none of the series that are read from {source}: "
                f"{', '.join(names[:10])}"
            )
    if not targets:
        raise UserError("targets is empty; name at least one series, or leave it out for all")
    return torch.tensor([name in targets for name in names])


def chosen_places(table: SeriesTable, columns: list[str] | None) -> list[int]:
    """Returns the places of the named series of a file, of all if None.

    Raises:
        UserError: If the file has no such series.
    """
    if columns is None:
        return list(range(len(table.names)))
    missing = [name for name in columns if name not in table.names]
    if missing:
        raise UserError(
            f"{table.name} has no series {missing[0]!r}; it has {', '.join(table.names[:10])}"
        )
    return [table.names.index(name) for name in columns]
