"""Pictures for people: forecasts beside what came, and models beside each other."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from headway.core.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 8  # more series than this make a picture unreadable
CONTEXT = 3  # horizons of the past that a picture shows at most


def windows_figure(windows: Sequence[Any], names: Sequence[str]) -> "Figure":
    """Draws windows side by side: context, what came, and the forecast.

    Args:
        windows: Triples (x (L, N), y (H, N), forecast (H, N)).
        names: Of the series.
    """
    shown = min(len(names), MOST)
    figure = new_figure(4.2 * len(windows), 1.6 * shown + 0.6)
    grid = figure.subplots(shown, len(windows), squeeze=False)
    for column, (x, y, forecast) in enumerate(windows):
        past = min(len(x), CONTEXT * len(y))
        for row in range(shown):
            axes = grid[row, column]
            axes.plot(np.arange(-past, 0), x[-past:, row], color="0.4", lw=1, label="context")
            after = np.arange(len(y))
            axes.plot(after, y[:, row], color="tab:blue", lw=1, label="what came")
            axes.plot(after, forecast[:, row], color="tab:red", lw=1.2, label="forecast")
            axes.axvline(-0.5, color="0.8", lw=0.8)
            axes.tick_params(labelsize=7)
            if column == 0:
                axes.set_ylabel(names[row], size=8)
    grid[0, 0].legend(fontsize=7, loc="upper left")
    return figure


def forecast_figure(
    stamps: Any,
    values: Any,
    future: Any,
    forecast: Any,
    names: Sequence[str],
    *,
    title: str = "",
    intervals: Mapping[float, tuple[Any, Any]] | None = None,
) -> "Figure":
    """Draws the end of each series and its forecast.

    Args:
        stamps: Of the values.
        values: The past.
        future: Stamps of the forecast.
        forecast: NaN for a series that is not drawn.
        names: Of the series.
        title: Of the picture.
        intervals: Percent -> lower and upper ends.

    Shape:
        values: (T, N). forecast, ends of intervals: (H, N).
    """
    shown = [i for i in range(len(names)) if not np.isnan(forecast[:, i]).all()][:MOST]
    figure = new_figure(9, 1.7 * max(1, len(shown)) + 0.6)
    if title:
        figure.suptitle(title, size=11)
    grid = figure.subplots(max(1, len(shown)), 1, squeeze=False, sharex=True)
    past = min(len(values), CONTEXT * len(forecast))
    for axes, series in zip(grid[:, 0], shown, strict=False):
        axes.plot(stamps[-past:], values[-past:, series], color="0.4", lw=1, label="known")
        axes.plot(future, forecast[:, series], color="tab:red", lw=1.3, label="forecast")
        for percent, (lower, upper) in sorted((intervals or {}).items(), reverse=True):
            axes.fill_between(
                future,
                lower[:, series],
                upper[:, series],
                color="tab:red",
                alpha=0.18,
                lw=0,
                label=f"{percent:g} % interval",
            )
        axes.set_ylabel(names[series], size=8)
        axes.tick_params(labelsize=7)
    grid[0, 0].legend(fontsize=7, loc="upper left")
    return figure


def panel_figure(panel: Any, frame: Any, percents: Sequence[float] = ()) -> "Figure":
    """Draws the end of the first series of a panel, and their forecasts.

    Args:
        panel: The ``Panel`` that was continued.
        frame: Its forecasts, long.
        percents: Of the intervals in the frame.
    """
    identity, time, target = panel.columns
    places = {name: place for place, name in enumerate(panel.names)}
    groups = list(frame.groupby(identity, sort=False))[:MOST]
    figure = new_figure(9, 1.7 * max(1, len(groups)) + 0.6)
    grid = figure.subplots(max(1, len(groups)), 1, squeeze=False)
    for axes, (series, part) in zip(grid[:, 0], groups, strict=False):
        place = places[str(series)]
        past = min(len(panel.series(place)), CONTEXT * len(part))
        axes.plot(
            panel.stamps(place)[-past:],
            panel.series(place)[-past:],
            color="0.4",
            lw=1,
            label="known",
        )
        axes.plot(part[time], part[target], color="tab:red", lw=1.3, label="forecast")
        for percent in sorted(percents, reverse=True):
            lower, upper = (part[f"{target}-{end}-{percent:g}"] for end in ("lo", "hi"))
            axes.fill_between(
                part[time],
                lower,
                upper,
                color="tab:red",
                alpha=0.18,
                lw=0,
                label=f"{percent:g} % interval",
            )
        axes.set_ylabel(series, size=8)
        axes.tick_params(labelsize=7)
    grid[0, 0].legend(fontsize=7, loc="upper left")
    return figure


def backtest_figure(errors: Mapping[str, Mapping[int, float]], score: str) -> "Figure":
    """Draws the error of each model over the horizons.

    Args:
        errors: Model -> horizon -> error.
        score: Name of the error.
    """
    figure = new_figure(7, 4)
    axes = figure.add_subplot()
    horizons = sorted({horizon for found in errors.values() for horizon in found})
    width = 0.8 / max(1, len(errors))
    for place, (name, found) in enumerate(errors.items()):
        at = np.arange(len(horizons)) + (place - (len(errors) - 1) / 2) * width
        axes.bar(at, [found.get(h, np.nan) for h in horizons], width, label=name)
    axes.set_xticks(range(len(horizons)), [str(h) for h in horizons])
    axes.set(xlabel="horizon (steps)", ylabel=f"{score} (lower is better)")
    axes.legend(fontsize=8)
    return figure


def generated_figure(real: Any, made: Any) -> "Figure":
    """Draws real windows beside generated ones, series below each other.

    Shape:
        real, made: (M, L, N).
    """
    shown = min(real.shape[2], MOST)
    figure = new_figure(8, 1.5 * shown + 0.6)
    grid = figure.subplots(shown, 2, squeeze=False, sharex=True, sharey="row")
    kinds = (("real", real, "0.3"), ("generated", made, "tab:red"))
    for column, (name, windows, color) in enumerate(kinds):
        grid[0, column].set_title(name, size=10)
        for row in range(shown):
            grid[row, column].plot(windows[:, :, row].T, color=color, lw=0.7, alpha=0.4)
            grid[row, column].tick_params(labelsize=7)
    return figure


def imputation_figure(windows: Sequence[Any], names: Sequence[str]) -> "Figure":
    """Draws windows side by side: what was known, what was hidden, and what was found in its place.

    Args:
        windows: Triples (x (L, N), hidden (L, N), answer (L, N)), x NaN where nobody knows it.
        names: Of the series.
    """
    shown = min(len(names), MOST)
    figure = new_figure(4.2 * len(windows), 1.6 * shown + 0.6)
    grid = figure.subplots(shown, len(windows), squeeze=False)
    for column, (x, hidden, answer) in enumerate(windows):
        for row in range(shown):
            axes = grid[row, column]
            at = np.flatnonzero(hidden[:, row])
            axes.plot(np.where(hidden[:, row], np.nan, x[:, row]), color="0.4", lw=1, label="known")
            axes.plot(at, x[at, row], "o", color="tab:blue", ms=3, label="hidden")
            axes.plot(at, answer[at, row], "x", color="tab:red", ms=4, label="found")
            axes.tick_params(labelsize=7)
            if column == 0:
                axes.set_ylabel(names[row], size=8)
    grid[0, 0].legend(fontsize=7, loc="upper left")
    return figure


def filled_figure(stamps: Any, values: Any, filled: Any, names: Sequence[str]) -> "Figure":
    """Draws series and what was put where a value was missing.

    Args:
        stamps: Of the rows.
        values: NaN where a value was missing.
        filled: The same with the missing values found.
        names: Of the series.

    Shape:
        values, filled: (T, N).
    """
    gaps = np.isnan(values)
    shown = [i for i in range(len(names)) if gaps[:, i].any()][:MOST] or [0]
    figure = new_figure(9, 1.7 * len(shown) + 0.6)
    grid = figure.subplots(len(shown), 1, squeeze=False, sharex=True)
    for axes, series in zip(grid[:, 0], shown, strict=True):
        missing = gaps[:, series]
        axes.plot(stamps, values[:, series], color="0.4", lw=1, label="known")
        axes.plot(stamps[missing], filled[missing, series], ".", color="tab:red", label="filled in")
        axes.set_ylabel(names[series], size=8)
        axes.tick_params(labelsize=7)
    grid[0, 0].legend(fontsize=7, loc="upper left")
    return figure


def anomaly_figure(
    stamps: Any,
    values: Any,
    scores: Any,
    threshold: float,
    names: Sequence[str],
    labels: Any | None = None,
) -> "Figure":
    """Draws series above their anomaly score; what is flagged is marked, and what was labelled.

    Args:
        stamps: Of the rows.
        values: Of the series.
        scores: Of the rows, NaN without one.
        threshold: Scores above it are flagged.
        names: Of the series.
        labels: True where an anomaly is known; None if nobody knows.

    Shape:
        values: (T, N). scores, labels: (T,).
    """
    shown = min(len(names), MOST)
    figure = new_figure(9, 1.6 * (shown + 1) + 0.6)
    grid = figure.subplots(shown + 1, 1, squeeze=False, sharex=True)[:, 0]
    for series in range(shown):
        grid[series].plot(stamps, values[:, series], color="0.3", lw=0.8)
        grid[series].set_ylabel(names[series], size=8)
    grid[-1].plot(stamps, scores, color="tab:blue", lw=0.8)
    grid[-1].axhline(threshold, color="tab:red", lw=0.8, ls="--", label="threshold")
    grid[-1].set_ylabel("score", size=8)
    marked = [(np.nan_to_num(scores, nan=-np.inf) > threshold, "tab:red", "flagged")]
    if labels is not None:
        marked.append((labels, "tab:green", "labelled"))
    for axes in grid:
        axes.tick_params(labelsize=7)
        for steps, color, name in marked:
            for place, (first, last) in enumerate(stretches(steps)):
                label = name if not place else None
                axes.axvspan(
                    stamps[first], stamps[last], color=color, alpha=0.25, lw=1, label=label
                )
    grid[-1].legend(fontsize=7, loc="upper left")
    return figure


def stretches(steps: Any) -> list[tuple[int, int]]:
    """Returns first and last place of each run of True, (T,)."""
    edges = np.diff(np.concatenate([[0], np.asarray(steps, dtype=np.int8), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def made_figure(windows: Any, names: Sequence[str]) -> "Figure":
    """Draws generated windows over each other, series below each other.

    Shape:
        windows: (M, L, N).
    """
    shown = min(windows.shape[2], MOST)
    figure = new_figure(6, 1.5 * shown + 0.6)
    grid = figure.subplots(shown, 1, squeeze=False, sharex=True)
    for row in range(shown):
        grid[row, 0].plot(windows[:40, :, row].T, color="tab:red", lw=0.7, alpha=0.4)
        grid[row, 0].set_ylabel(names[row], size=8)
        grid[row, 0].tick_params(labelsize=7)
    return figure


def distributions_figure(real: Any, made: Any, names: Sequence[str]) -> "Figure":
    """Draws the distribution of each number, real and generated.

    Shape:
        real: (M, K). made: (N, K).
    """
    figure = new_figure(2.6 * len(names), 2.6)
    grid = figure.subplots(1, len(names), squeeze=False)
    for axes, place in zip(grid[0], range(len(names)), strict=True):
        low, high = np.quantile(real[:, place], [0.005, 0.995])
        for values, color, label in ((real, "0.4", "real"), (made, "tab:red", "generated")):
            axes.hist(
                np.clip(values[:, place], low - 0.5, high + 0.5),
                bins=np.linspace(low - 0.5, high + 0.5, 40),
                density=True,
                color=color,
                alpha=0.5,
                label=label,
            )
        axes.set_title(names[place], size=9)
        axes.tick_params(labelsize=6)
    grid[0, 0].legend(fontsize=7)
    return figure
