"""A trained forecaster with what its series must go through."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from headway.core.cli.device import choose_device
from headway.core.errors import UserError
from headway.core.heads import StudentT
from headway.timeseries.data.clock import calendar_marks, following
from headway.timeseries.data.intervals import conformal_offsets
from headway.timeseries.data.scaler import Scaler
from headway.timeseries.data.table import SeriesTable
from headway.timeseries.models.base import Forecaster
from headway.timeseries.models.probabilistic import point_forecast, quantile_forecast


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A forecaster ready to continue series.

    Args:
        name: How tables call it.
        model: In evaluation mode, on its device.
        notes: Contents of ``preprocessing.json``; a model without one reads series as they are.
        device: Where the model is.
    """

    name: str
    model: Forecaster
    notes: dict[str, Any]
    device: torch.device

    @property
    def context_length(self) -> int:
        """Steps that the model reads."""
        return self.model.context_length

    def scaler(self, table: SeriesTable) -> Scaler:
        """Returns how the series of a file are scaled for this model."""
        return Scaler.for_series(self.notes, table.names, table.values)

    def marks(self, stamps: pd.Index) -> NDArray[np.float32] | None:
        """Returns the calendar marks of stamps, or None for a model without."""
        marks = calendar_marks(stamps) if self.notes.get("marks") else None
        return marks if marks is not None and marks.shape[1] else None

    @torch.inference_mode()
    def answer(
        self,
        x: NDArray[np.float64],
        scaler: Scaler,
        marks: NDArray[np.float32] | None,
        levels: Sequence[float] = (),
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Forecasts windows, in the units of the series: points, and quantiles.

        Args:
            x: Windows with NaN where a value is missing.
            scaler: Of their series.
            marks: Of context and horizon.
            levels: Of the quantiles.

        Shape:
            x: (B, L, N). marks: (B, L + H, M). Output: (B, H, N), (B, H, N, levels).

        Raises:
            UserError: If the model has neither quantiles nor calibrated intervals.
        """
        length = self.context_length
        known = ~np.isnan(x)
        scaled = np.where(known, scaler.forward(x), 0.0)
        options: dict[str, Any] = {}
        if not known.all():
            options["mask"] = torch.from_numpy(known).to(self.device)
        if marks is not None:
            both = torch.from_numpy(marks).to(self.device)
            options |= {"marks": both[:, :length], "future_marks": both[:, length:]}
        inputs = torch.from_numpy(scaled).float().to(self.device)
        answer = self.model(inputs, **options)
        own = self.model.quantiles
        point = point_forecast(answer, own).double().cpu().numpy()
        if not levels:
            quantiles = np.empty((*point.shape, 0))
        elif own is not None or isinstance(answer, StudentT):
            quantiles = quantile_forecast(answer, own, levels).double().cpu().numpy()
        else:
            quantiles = point[..., None] + conformal_offsets(
                self.notes, scaler.names, levels, self.name
            )
        return scaler.inverse(point), np.moveaxis(
            scaler.inverse(np.moveaxis(quantiles, -1, 0)), 0, -1
        )

    def continue_table(
        self, table: SeriesTable, horizon: int, levels: Sequence[float] = ()
    ) -> tuple[pd.Index, NDArray[np.float64], NDArray[np.float64]]:
        """Continues all series of a file; beyond the model's own horizon it reads its own forecasts.

        Shape:
            Output: (horizon,) stamps, (horizon, N) values, (horizon, N, levels) quantiles; NaN for a series
            without a known value in the context.

        Raises:
            UserError: If quantiles are asked for beyond the model's own horizon: what it reads there
                is uncertain itself.
        """
        length, own = self.context_length, self.model.horizon
        if levels and horizon > own:
            raise UserError(
                f"{self.name} gives intervals for its own horizon of {own} steps, asked were {horizon}; "
                f"ask for at most {own}, leave out the level, or train with a longer horizon"
            )
        scaler = self.scaler(table)
        future = following(table.stamps, table.step, max(horizon, own) + own)
        marks = self.marks(table.stamps[-length:].append(future))
        values = table.values[-length:]
        unknown = np.isnan(values).all(axis=0)
        done = np.empty((0, values.shape[1]))
        quantiles = np.empty((0, values.shape[1], len(levels)))
        while len(done) < horizon:
            x = np.concatenate([values, done])[-length:]
            part = None if marks is None else marks[None, len(done) : len(done) + length + own]
            points, spread = self.answer(x[None], scaler, part, levels)
            done = np.concatenate([done, points[0]])
            quantiles = np.concatenate([quantiles, spread[0]])
        done, quantiles = done[:horizon], quantiles[:horizon]
        done[:, unknown], quantiles[:, unknown] = np.nan, np.nan
        return future[:horizon], done, quantiles


def load_predictor(source: str, device: str | None = None, *, name: str | None = None) -> Predictor:
    """Loads a run folder, a checkpoint, a directory or a hub id.

    Raises:
        UserError: If it holds no forecaster.
    """
    from headway.core.weights import from_pretrained, read_preprocessing

    model = from_pretrained(source)
    if not isinstance(model, Forecaster):
        raise UserError(f"{source} holds a {type(model).__name__}, which is no forecaster")
    return as_predictor(model, read_preprocessing(source), device, name=name or str(source))


def as_predictor(
    model: Forecaster, notes: dict[str, Any], device: str | None = None, *, name: str
) -> Predictor:
    """Puts a model and the content of its ``preprocessing.json`` together."""
    place = choose_device(device)
    return Predictor(name=name, model=model.eval().to(place), notes=notes, device=place)
