"""Forecasts of a panel: every series from its own end, with covariates."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from headway.core.cli.counts import Counts, Policy
from headway.core.errors import InputError, UserError
from headway.timeseries.data.intervals import conformal_offsets
from headway.timeseries.data.panel import Covariates, Panel, continued
from headway.timeseries.data.table import read_numbers, read_stamps
from headway.timeseries.metrics import interval_levels
from headway.timeseries.prediction.contexts import Contexts
from headway.timeseries.prediction.predictor import Predictor


def panel_covariates(predictor: Predictor) -> Covariates:
    """Returns which columns the model was trained with, and what its words are."""
    kept = predictor.notes.get("covariates", {})
    columns = {kind: tuple(names) for kind, names in kept.get("columns", {}).items()}
    words = kept.get("words")
    if words is None:
        # Runs from before words were kept have them in the names of their columns.
        words = {}
        for name in kept.get("static", {}).get("names", ()):
            column, _, word = name.partition("=")
            if word and name not in columns.get("static", ()):
                words.setdefault(column, []).append(word)
    return Covariates(**columns, words={name: tuple(found) for name, found in words.items()})


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
        horizon: Steps; beyond its own ones the model reads its own forecasts.
        percents: Of intervals, over at most the steps of the model.
        future: The future covariates: series, stamp, and their columns.
        on_invalid: What to do with a series that cannot be forecast; it is left out.
        counts: Is told what became of each series.

    Returns:
        A long frame with the columns of the panel and, for a percent of 80, ``y-lo-80`` and ``y-hi-80``.

    Raises:
        InputError: If a series is too short, has no known value, or lacks a future covariate.
        UserError: If the horizon is longer than the model's, and intervals are asked for or the model reads
            historical covariates: what they are there nobody knows.
    """
    counts = counts or Counts("series")
    own = predictor.model.horizon
    if horizon > own:
        _check_rolling(predictor, panel, horizon, percents)
    steps = own * -(-horizon // own)
    predictor.check_step(panel.name, panel.step)
    ahead = _Future(panel, future)
    usable, known_future = [], []
    for place, series in enumerate(panel.names):
        try:
            _check(panel, place, predictor.context_length)
            known_future.append(ahead.of(place, steps))
            usable.append(place)
        except InputError as error:
            named = InputError(f"{panel.name}, series {series}", error.reason)
            counts.refuse(named, on_invalid)
    if not usable:
        raise InputError(panel.name, "has no series that can be forecast")
    levels = [level for percent in percents for level in interval_levels(percent)]
    panel = panel.only(usable)
    later, learned = np.stack(known_future), panel.lengths
    contexts = Contexts(predictor, panel, learned, later)
    point, spread = contexts.answers(learned[None], levels)
    points, longer = point[0], panel
    while points.shape[1] < horizon:
        done = points.shape[1]
        longer = continued(longer, points[:, done - own :], later[:, done - own : done])
        rest = Contexts(predictor, longer, learned, later[:, done:])
        points = np.concatenate([points, rest.answers(longer.lengths[None], ())[0][0]], axis=1)
    if not levels:
        quantiles = np.empty((*points.shape, 0))
    elif spread is not None:
        quantiles = spread[0]
    else:
        offsets = conformal_offsets(predictor.notes, panel.names, levels, predictor.name)
        widths = contexts.scaler.std[:, None, None] * offsets.transpose(1, 0, 2)
        quantiles = points[..., None] + widths
    counts.done += len(usable)
    return _long(panel, points[:, :horizon], quantiles[:, :horizon], percents)


def _check_rolling(
    predictor: Predictor, panel: Panel, horizon: int, percents: Sequence[float]
) -> None:
    own = predictor.model.horizon
    remedy = (
        f"ask for at most {own}, or train or fine-tune one with horizon {horizon} (headway fit -c "
        "timeseries/finetune)"
    )
    if percents:
        raise UserError(
            f"{predictor.name} gives intervals for its own horizon of {own} steps, asked were {horizon}; "
            f"leave out the level, {remedy}"
        )
    if panel.historical.shape[1]:
        named = ", ".join(panel.covariates.historical)
        raise UserError(
            f"{predictor.name} forecasts {own} steps, asked were {horizon}; for the rest it would need the "
            f"historical covariates {named}, which end with the series; {remedy}"
        )


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
