"""Forecasts of a panel: every series from its own end, with covariates."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from headway.core.cli.counts import Counts, Policy
from headway.core.errors import InputError, UserError
from headway.timeseries.data.intervals import conformal_offsets
from headway.timeseries.data.panel import Covariates, Panel
from headway.timeseries.data.table import read_numbers, read_stamps
from headway.timeseries.metrics import interval_levels
from headway.timeseries.verbs.contexts import Contexts
from headway.timeseries.verbs.loading import Predictor


def panel_covariates(predictor: Predictor) -> Covariates:
    """Returns which columns the model was trained with."""
    columns = predictor.notes.get("covariates", {}).get("columns", {})
    return Covariates(**{kind: tuple(names) for kind, names in columns.items()})


def forecast_panel(
    predictor: Predictor,
    panel: Panel,
    horizon: int,
    *,
    percents: Sequence[float] = (),
    future: pd.DataFrame | None = None,
    on_invalid: Policy = "raise",
    counts: Counts | None = None,
) -> pd.DataFrame:
    """Continues the series of a panel.

    Args:
        predictor: The model, trained on a panel.
        panel: The series.
        horizon: Steps, at most those of the model.
        percents: Of intervals.
        future: The future covariates: series, stamp, and their columns.
        on_invalid: What to do with a series that cannot be forecast; it is left out.
        counts: Is told what became of each series.

    Returns:
        A long frame with the columns of the panel and, for a percent of 80, ``y-lo-80`` and ``y-hi-80``.

    Raises:
        InputError: If a series is too short, has no known value, or lacks a future covariate.
        UserError: If the horizon is longer than the model's.
    """
    counts = counts or Counts("series")
    own = predictor.model.horizon
    if horizon > own:
        raise UserError(
            f"{predictor.name} forecasts {own} steps of a panel, asked were {horizon}; train or fine-tune "
            f"one with horizon {horizon} (headway fit -c timeseries/finetune), or ask for at most {own}"
        )
    predictor.check_step(panel.name, panel.step)
    ahead = _Future(panel, future)
    usable, known_future = [], []
    for place, series in enumerate(panel.names):
        try:
            _check(panel, place, predictor.context_length)
            known_future.append(ahead.of(place, own))
            usable.append(place)
        except InputError as error:
            named = InputError(f"{panel.name}, series {series}", error.reason)
            counts.refuse(named, on_invalid)
    if not usable:
        raise InputError(panel.name, "has no series that can be forecast")
    levels = [level for percent in percents for level in interval_levels(percent)]
    panel = panel.only(usable)
    ends = panel.lengths
    contexts = Contexts(predictor, panel, ends, np.stack(known_future))
    points, quantiles = (
        None if part is None else part[0] for part in contexts.answers(ends[None], levels)
    )
    assert points is not None
    if not levels:
        quantiles = np.empty((*points.shape, 0))
    elif quantiles is None:
        offsets = conformal_offsets(predictor.notes, panel.names, levels, predictor.name)
        widths = contexts.scaler.std[:, None, None] * offsets.transpose(1, 0, 2)
        quantiles = points[..., None] + widths
    counts.done += len(usable)
    return _long(panel, points[:, :horizon], quantiles[:, :horizon], percents)


class _Future:
    """The future covariates of a panel, by series and stamp."""

    def __init__(self, panel: Panel, frame: pd.DataFrame | None) -> None:
        self.panel, self.columns = panel, list(panel.covariates.future)
        self.found: dict[str, pd.DataFrame] = {}
        if not self.columns:
            return
        if frame is None:
            raise UserError(
                f"the model reads the future covariates {', '.join(self.columns)}; give their values with "
                "--future FILE"
            )
        identity, time, _ = panel.columns
        for column in (identity, time, *self.columns):
            if column not in frame.columns:
                raise UserError(f"the frame of the future has no column {column!r}")
        values = {column: read_numbers(frame[column], "future") for column in self.columns}
        tidy: Any = pd.DataFrame(values, index=read_stamps(frame[time], "future"))
        for series, part in tidy.groupby(frame[identity].astype(str).to_numpy()):
            self.found[str(series)] = part[~part.index.duplicated(keep="last")]

    def of(self, place: int, horizon: int) -> NDArray[np.float64]:
        """Returns the covariates of the next steps of a series, (H, Kf)."""
        stamps = self.panel.after(place, horizon)
        if not self.columns:
            return np.zeros((horizon, 0))
        empty = pd.DataFrame(columns=self.columns, index=stamps[:0], dtype=float)
        part = self.found.get(self.panel.names[place], empty).reindex(stamps)
        missing: Any = part.isna()
        if missing.to_numpy().any():
            column = next(c for c in self.columns if missing[c].any())
            raise InputError(
                self.panel.names[place],
                f"has no {column!r} at {stamps[int(np.argmax(missing[column]))]}; a future covariate is "
                f"needed at all {horizon} steps that the model forecasts",
            )
        return part.to_numpy(dtype=float)


def _check(panel: Panel, place: int, length: int) -> None:
    name, values = panel.names[place], panel.series(place)
    if len(values) < length:
        raise InputError(
            name, f"has {len(values)} steps, the model reads {length} (its context_length)"
        )
    if np.isnan(values[-length:]).all():
        raise InputError(name, f"has no value in the last {length} steps that the model reads")


def _long(
    panel: Panel,
    points: NDArray[np.float64],
    quantiles: NDArray[np.float64],
    percents: Sequence[float],
) -> pd.DataFrame:
    identity, time, target = panel.columns
    steps = points.shape[1]
    stamps = [panel.after(k, steps) for k in range(len(panel.names))]
    joined = stamps[0].append(stamps[1:]) if len(stamps) > 1 else stamps[0]
    columns: dict[str, Any] = {
        identity: np.repeat(panel.names, steps),
        time: joined,
        target: points.ravel(),
    }
    for place, percent in enumerate(percents):
        for end, name in enumerate(("lo", "hi")):
            columns[f"{target}-{name}-{percent:g}"] = quantiles[..., 2 * place + end].ravel()
    return pd.DataFrame(columns)
