"""A trained forecaster with what its series must go through."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from headway.core.cli.device import choose_device
from headway.core.cli.loading import load_model
from headway.core.errors import InputError, UserError
from headway.core.heads import StudentT
from headway.timeseries.data.clock import calendar_marks, following
from headway.timeseries.data.intervals import conformal_offsets
from headway.timeseries.data.scaler import Scaler
from headway.timeseries.data.steps import same_step
from headway.timeseries.data.table import SeriesTable
from headway.timeseries.layers.window_norm import AffineWindowNorm, WindowNorm
from headway.timeseries.models.base import ForecastingModel
from headway.timeseries.models.probabilistic import point_forecast, quantile_forecast
from headway.timeseries.prediction.notes import read_notes


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
    model: ForecastingModel
    notes: dict[str, Any]
    device: torch.device

    @property
    def context_length(self) -> int:
        """Steps that the model reads."""
        return self.model.context_length

    def scaler(self, table: SeriesTable) -> Scaler:
        """Returns how the series of a file are scaled for this model."""
        return self.scaler_of(Scaler.fit(table.values, table.names))

    def scaler_of(self, measured: Scaler) -> Scaler:
        """Returns how series are scaled for this model: as in training, or by their own values.

        A model without a scaler reads series as they are, unless it says of itself that their units do not
        matter (``ForecastingModel.affine``): single precision would lose what a large value changes by.
        """
        if "mean" not in self.notes:
            if self.model.affine or any(isinstance(p, WindowNorm) for p in self.model.children()):
                return measured
            if self.model.shifts:
                return replace(measured, std=np.ones_like(measured.std))
        return measured.known(self.notes)

    def marks(self, stamps: pd.Index) -> NDArray[np.float32] | None:
        """Returns the calendar marks of stamps, or None for a model without."""
        marks = calendar_marks(stamps) if self.notes.get("marks") else None
        return marks if marks is not None and marks.shape[1] else None

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
        inputs = (
            {} if marks is None else {"marks": marks[:, :length], "future_marks": marks[:, length:]}
        )
        point, quantiles = self.ask(scaler.forward(x), inputs, levels)
        if not levels:
            quantiles = np.empty((*point.shape, 0))
        elif quantiles is None:
            quantiles = point[..., None] + conformal_offsets(
                self.notes, scaler.names, levels, self.name
            )
        return scaler.inverse(point), np.moveaxis(
            scaler.inverse(np.moveaxis(quantiles, -1, 0)), 0, -1
        )

    @torch.inference_mode()
    def ask(
        self, x: NDArray[np.float64], inputs: Mapping[str, NDArray[Any]], levels: Sequence[float]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Forecasts scaled windows: points, and quantiles, which models of points do not give.

        Args:
            x: Windows with NaN where a value is missing.
            inputs: What else the model reads, by name.
            levels: Of the quantiles.

        Shape:
            x: (B, L, N). Output: (B, H, N), (B, H, N, levels).
        """
        known = ~np.isnan(x)
        options = {
            name: torch.from_numpy(values).float().to(self.device)
            for name, values in inputs.items()
        }
        if not known.all():
            options["mask"] = torch.from_numpy(known).to(self.device)
        given = torch.from_numpy(np.where(known, x, 0.0)).float().to(self.device)
        answer = self.model(given, **options)
        own = self.model.quantiles
        point = point_forecast(answer, own).double().cpu().numpy()
        if levels and (own is not None or isinstance(answer, StudentT)):
            return point, quantile_forecast(answer, own, levels).double().cpu().numpy()
        return point, None

    def order(self, names: Sequence[str], source: str) -> list[int] | None:
        """Returns where the series of the model are among those of a file; None if any order will do.

        A model that was built for a number of series knows each by its place, so they are matched by name.

        Raises:
            InputError: If one of them is not in the file.
        """
        trained = self.notes.get("names")
        if trained is None or self.notes.get("panel") or not self.fixed:
            return None
        missing = [name for name in trained if name not in names]
        if missing:
            raise InputError(
                source,
                f"has no series {', '.join(missing[:5])}; the model was built for {', '.join(trained[:10])} "
                "and knows each by its name",
            )
        return [list(names).index(name) for name in trained]

    @property
    def fixed(self) -> bool:
        """Whether the model treats its series by their places."""
        return any(
            getattr(part, "variates", 1) != 1
            or (isinstance(part, AffineWindowNorm) and len(part.gain) > 1)
            for part in self.model.modules()
        )

    def arranged(self, table: SeriesTable) -> SeriesTable:
        """Returns a table with the series of the model in their order, if it needs one.

        Raises:
            InputError: If one of them is not in the table.
        """
        places = self.order(table.names, table.name)
        if places is None:
            return table
        names = tuple(table.names[place] for place in places)
        return replace(table, names=names, values=table.values[:, places])

    def check_step(self, name: str, step: Any) -> None:
        """Raises if the steps of a file are not those that the model was trained on.

        Raises:
            InputError: If they differ.
        """
        trained = self.notes.get("step")
        if trained is not None and not same_step(trained, step):
            raise InputError(
                name,
                f"has a step of {step}, the model was trained on steps of {trained}; --freq gives "
                "another",
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
    model, place = load_model(source, device, ForecastingModel, "which is no forecaster")
    notes = read_notes(source)
    if "task" in notes:
        verb = {"imputation": "impute", "anomalies": "detect-anomalies"}.get(notes["task"])
        raise UserError(
            f"{source} was trained for {notes['task']} and answers with the window that it reads; use "
            f"headway {verb}"
        )
    return Predictor(name=name or str(source), model=model, notes=notes, device=place)


def as_predictor(
    model: ForecastingModel, notes: dict[str, Any], device: str | None = None, *, name: str
) -> Predictor:
    """Puts a model and the content of its ``preprocessing.json`` together."""
    place = choose_device(device)
    return Predictor(name=name, model=model.eval().to(place), notes=notes, device=place)
