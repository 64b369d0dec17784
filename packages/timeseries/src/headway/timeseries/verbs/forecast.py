"""Continues the series of files."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from headway.core.cli.counts import Counts, Policy
from headway.core.cli.job import Job
from headway.core.cli.options import add_plot, check_positive
from headway.core.cli.progress import with_progress
from headway.core.errors import InputError, UserError
from headway.timeseries.data.frames import read_frame, write_frame
from headway.timeseries.data.panel import Panel, panel_of
from headway.timeseries.data.table import SeriesTable, read_table, write_table
from headway.timeseries.figures import forecast_figure, panel_figure
from headway.timeseries.metrics import interval_levels
from headway.timeseries.prediction.panels import forecast_panel, panel_covariates
from headway.timeseries.prediction.predictor import Predictor, load_predictor
from headway.timeseries.verbs.options import add_freq

MOST_STEPS = 10**6


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway forecast``."""
    parser.add_argument(
        "inputs",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="CSV or parquet, wide or unique_id, ds, y",
    )
    add_freq(parser)
    parser.add_argument(
        "--horizon", type=int, help="steps to forecast (default: as many as the model was made for)"
    )
    parser.add_argument(
        "--level",
        type=float,
        nargs="+",
        default=[],
        metavar="PERCENT",
        help="intervals to write and draw, such as 80 or 50 90",
    )
    parser.add_argument(
        "--future",
        type=Path,
        metavar="FILE",
        help="the future covariates of a panel: unique_id, ds, ...",
    )
    add_plot(parser, "the forecast")


def run(args: argparse.Namespace) -> int:
    """Writes the forecasts; returns 1 if there is none."""
    job = Job(args, "forecast with", items="series", out="file", extra=["plot"])
    check_positive(args, "horizon", most=MOST_STEPS)
    percents = check_percents(args.level)
    places = outputs(args.inputs, args.out)
    predictor = load_predictor(args.checkpoint, args.device)
    horizon = args.horizon or predictor.model.horizon
    panel = bool(predictor.notes.get("panel"))
    future: Any = None if args.future is None else read_frame(args.future)
    if future is not None and not panel:
        raise UserError("--future is for models that were trained on a panel (PanelData)")
    if horizon > predictor.model.horizon:
        print(
            f"the model forecasts {predictor.model.horizon} steps; for the rest of {horizon} it "
            "reads its own forecasts",
            file=sys.stderr,
        )
    for path, out in with_progress(places, "forecasting"):
        try:
            if panel:
                series, frame = _panel(predictor, path, horizon, percents, future, args, job.counts)
                write_frame(frame, out)
                job.draw(panel_figure, series, frame, percents)
                continue
            table = read_table(path, freq=args.freq, usual=predictor.notes.get("step"))
            stamps, values, intervals = forecast(
                predictor,
                table,
                horizon,
                percents=percents,
                on_invalid=args.on_invalid,
                counts=job.counts,
            )
        except InputError as error:
            job.counts.refuse(error, args.on_invalid)
            continue
        columns = {
            f"-{end}-{percent:g}": values
            for percent, ends in intervals.items()
            for end, values in zip(("lo", "hi"), ends, strict=True)
        }
        write_table(out, table, stamps, values, columns)
        job.draw(
            forecast_figure,
            table.stamps,
            table.values,
            stamps,
            values,
            table.names,
            title=f"{path.name}: {horizon} steps by {type(predictor.model).__name__}",
            intervals=intervals,
        )
    said = f"series forecast over {horizon} steps, written{job.place}"
    return job.end(said, forecast=job.counts.done)


def _panel(
    predictor: Predictor,
    path: Path,
    horizon: int,
    percents: Sequence[float],
    future: pd.DataFrame | None,
    args: argparse.Namespace,
    counts: Counts,
) -> tuple[Panel, pd.DataFrame]:
    """Returns the series of a long file, and their forecasts, each from its own end."""
    with counts.parts(args.on_invalid) as invalid:
        panel = panel_of(
            read_frame(path),
            str(path),
            covariates=panel_covariates(predictor),
            invalid=invalid,
            freq=args.freq,
            usual=predictor.notes.get("step"),
        )
    frame = forecast_panel(
        predictor,
        panel,
        horizon,
        percents=percents,
        future=future,
        on_invalid=args.on_invalid,
        counts=counts,
    )
    return panel, frame


def outputs(inputs: list[Path], out: Path) -> list[tuple[Path, Path]]:
    """Returns where the forecast of each file goes: ``out`` itself, or inside it for several files.

    Raises:
        UserError: If two files of the same name would be written to one place.
    """
    if len(inputs) == 1:
        return [(inputs[0], out)]
    if len({path.name for path in inputs}) < len(inputs):
        raise UserError("two of the files have the same name; forecast them one by one")
    return [(path, out / path.name) for path in inputs]


def check_percents(percents: Sequence[float]) -> list[float]:
    """Returns the percents of intervals in order.

    Raises:
        UserError: If one is not between 0 and 100.
    """
    for percent in percents:
        if not 0 < percent < 100:
            raise UserError(f"--level {percent:g} is no percent of an interval; use 80, say")
    return sorted(set(percents))


def forecast(
    predictor: Predictor,
    table: SeriesTable,
    horizon: int,
    *,
    percents: Sequence[float] = (),
    on_invalid: Policy = "raise",
    counts: Counts | None = None,
) -> tuple[pd.Index, NDArray[np.float64], dict[float, tuple[Any, Any]]]:
    """Continues the series of a table: stamps, values, and percent -> lower and upper ends.

    Series that are no target of the model are left empty.

    Args:
        predictor: The model.
        table: The series.
        horizon: Steps.
        percents: Of intervals.
        on_invalid: What to do with a series that has no known value in the context; left out, its
            column is empty.
        counts: Is told what became of each series.

    Raises:
        InputError: If the table is shorter than the context, or has another step than the model.
    """
    counts = counts or Counts("series")
    length = predictor.context_length
    if len(table.stamps) < length:
        raise InputError(
            table.name,
            f"has {len(table.stamps)} rows, the model reads {length} (its context_length)",
        )
    predictor.check_step(table.name, table.step)
    file, table = table, predictor.arranged(table)
    unknown = np.isnan(table.values[-length:]).all(axis=0)
    for place in np.flatnonzero(unknown):
        error = InputError(
            f"{table.name}, series {table.names[place]}",
            f"has no value in the last {length} rows that the model reads",
        )
        counts.refuse(error, on_invalid)
    if unknown.all():
        raise InputError(table.name, f"no series has a value in its last {length} rows")
    levels = [level for percent in percents for level in interval_levels(percent)]
    future, values, quantiles = predictor.continue_table(table, horizon, levels)
    targets = predictor.notes.get("targets")
    if targets is not None:
        # Series that were not there in training are read, not forecast.
        silent = ~np.isin(table.names, targets)
        values[:, silent], quantiles[:, silent] = np.nan, np.nan
        unknown = unknown | silent
    counts.done += int((~unknown).sum())
    if table.names != file.names:
        # Back to the order of the file; a series that the model was not built for has no forecast.
        places = [file.names.index(name) for name in table.names]
        shape = (horizon, len(file.names))
        here, spread = np.full(shape, np.nan), np.full((*shape, len(levels)), np.nan)
        here[:, places], spread[:, places] = values, quantiles
        values, quantiles = here, spread
    intervals = {
        percent: (quantiles[..., 2 * k], quantiles[..., 2 * k + 1])
        for k, percent in enumerate(percents)
    }
    return future, values, intervals
