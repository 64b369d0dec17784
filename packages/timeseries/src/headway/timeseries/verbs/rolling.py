"""Forecasts from every origin of a test part, and their errors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from headway.core.cli.progress import with_progress
from headway.core.errors import UserError
from headway.timeseries.data.borders import Borders
from headway.timeseries.data.clock import following
from headway.timeseries.data.forecasting import seasonal_errors
from headway.timeseries.data.protocol import FULL, counted_windows
from headway.timeseries.data.scaler import Scaler
from headway.timeseries.data.table import SeriesTable
from headway.timeseries.verbs.loading import Predictor

BATCH = 128


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Errors of one model over one horizon.

    Args:
        model: Its name.
        horizon: Steps.
        windows: Origins.
        mse: Mean squared error of series scaled by the training part.
        mae: Mean absolute error of the same.
        mase: Mean over the series of the absolute error divided by that of the seasonal naive forecast
            in the training part.
    """

    model: str
    horizon: int
    windows: int
    mse: float
    mae: float
    mase: float


def rolling_origin(
    predictors: Sequence[Predictor],
    table: SeriesTable,
    borders: Borders,
    *,
    horizon: int,
    period: int,
    stride: int = 1,
    protocol: str = FULL,
) -> list[Scores]:
    """Lets every model forecast from the same origins.

    Args:
        predictors: The models, of this horizon or a longer one.
        table: The series.
        borders: Of the file; the test part is forecast.
        horizon: Steps.
        period: Of the seasonal naive forecast that MASE compares with.
        stride: Steps between origins.
        protocol: Which origins count; see ``counted_windows``.

    Raises:
        UserError: If the test part is shorter than the horizon, or lies too early for a context.
    """
    first, last = borders.val, borders.test - horizon
    if last < first:
        raise UserError(
            f"the test part has {borders.test - borders.val} rows, the horizon is {horizon}; give a "
            "longer file, a shorter horizon, or other borders"
        )
    origins = np.arange(first, last + 1, stride)
    origins = origins[: counted_windows(protocol, len(origins))]
    scaler = Scaler.fit(table.values[: borders.train], table.names)
    seasonal = seasonal_errors(table.values[: borders.train], period)
    ahead = sliding_window_view(table.values, horizon, axis=0)
    scores = []
    for predictor in predictors:
        if predictor.context_length > first:
            raise UserError(
                f"{predictor.name} reads {predictor.context_length} rows, but only {first} lie before "
                "the test part; give a longer file or other borders"
            )
        sums = np.zeros((3, len(table.names)))
        for part in with_progress(_chunks(origins), f"{predictor.name}, {horizon} steps"):
            truth = ahead[part].transpose(0, 2, 1)
            error = _forecasts(predictor, table, part)[:, :horizon] - truth
            known = ~np.isnan(truth)
            sums[0] += np.where(known, (error / scaler.std) ** 2, 0.0).sum(axis=(0, 1))
            sums[1] += np.where(known, np.abs(error), 0.0).sum(axis=(0, 1))
            sums[2] += known.sum(axis=(0, 1))
        squared, absolute, count = sums
        there = (count > 0) & (seasonal > 0)
        mase = (absolute[there] / count[there] / seasonal[there]).mean() if there.any() else np.nan
        scores.append(
            Scores(
                model=predictor.name,
                horizon=horizon,
                windows=len(origins),
                mse=float(squared.sum() / count.sum()),
                mae=float((absolute / scaler.std).sum() / count.sum()),
                mase=float(mase),
            )
        )
    return scores


def _forecasts(
    predictor: Predictor, table: SeriesTable, origins: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Returns what a model says at some origins, (B, H, N)."""
    length, horizon = predictor.context_length, predictor.model.horizon
    context = sliding_window_view(table.values, length, axis=0)[origins - length]
    # A longer horizon than asked for may end behind the file; its marks are needed all the same.
    stamps = table.stamps.append(following(table.stamps, table.step, horizon))
    marks = predictor.marks(stamps)
    if marks is not None:
        both = sliding_window_view(marks, length + horizon, axis=0)[origins - length]
        marks = np.ascontiguousarray(both.transpose(0, 2, 1))
    scaler = predictor.scaler(table)
    return predictor.answer(context.transpose(0, 2, 1), scaler, marks)[0]


def _chunks(origins: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [origins[place : place + BATCH] for place in range(0, len(origins), BATCH)]
