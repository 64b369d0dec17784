"""Fills the missing values of a file."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from headway.core.cli.counts import Counts, Policy
from headway.core.cli.job import Job
from headway.core.cli.options import add_plot
from headway.core.errors import InputError
from headway.core.files import atomic_write
from headway.timeseries.data.clock import FIRST_ROW
from headway.timeseries.data.frames import PARQUET, read_frame, write_frame
from headway.timeseries.data.table import SeriesTable, read_stamps, read_table
from headway.timeseries.figures import filled_figure, stretches
from headway.timeseries.prediction.reconstructor import Reconstructor, load_reconstructor
from headway.timeseries.verbs.options import add_freq

RECIPE = "timeseries/imputation_ett"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway impute``."""
    parser.add_argument(
        "input", type=Path, metavar="FILE", help="CSV or parquet, wide or unique_id, ds, y"
    )
    add_freq(parser)
    add_plot(parser, "the series")


def run(args: argparse.Namespace) -> int:
    """Writes the file with its gaps filled; returns 1 if nothing could be filled."""
    job = Job(args, "impute with", items="series", out="file", extra=["plot"])
    model = load_reconstructor(args.checkpoint, args.device, "imputation", RECIPE)
    table = read_table(args.input, freq=args.freq, usual=model.notes.get("step"))
    filled = impute(model, table, on_invalid=args.on_invalid, counts=job.counts)
    write_filled(args.input, args.out, table, filled)
    job.draw(filled_figure, table.stamps, table.values, filled, table.names)
    missing = int(np.isnan(table.values).sum())
    job.counts.done = done = missing - int(np.isnan(filled).sum())
    code = job.end(f"of {missing} missing values filled, written{job.place}", filled=done)
    return code if missing else 0


def impute(
    model: Reconstructor,
    table: SeriesTable,
    *,
    on_invalid: Policy = "raise",
    counts: Counts | None = None,
) -> NDArray[np.float64]:
    """Returns the values of a table with the missing ones filled; the known ones are the same.

    A missing value is the mean of what the model says in all windows, half a window apart, in which its
    series is known somewhere.

    Args:
        model: The model.
        table: The series.
        on_invalid: What to do with a series that cannot be filled: it has a gap of which no window shows an
            end. ``skip`` and ``keep`` leave that gap as it is.
        counts: Is told what became of each series.

    Shape:
        Output: (T, N).

    Raises:
        InputError: If the table is shorter than a window, or has other steps of time than the model; or for
            a series that cannot be filled.
    """
    counts = counts or Counts("series")
    model.check(table)
    missing = np.isnan(table.values)
    rows, length = len(missing), model.length
    starts = np.unique([*range(0, rows - length, max(length // 2, 1)), rows - length])
    windows = starts[:, None] + np.arange(length)
    asked = missing[windows].any(axis=(1, 2))
    starts, windows = starts[asked], windows[asked]
    filled = table.values.copy()
    if not len(starts):
        return filled
    scaler = model.predictor.scaler(table)
    answers = np.concatenate([answer for _, answer in model.answers(table, scaler, starts)])
    answers = scaler.inverse(answers)
    total, count = np.zeros_like(filled), np.zeros_like(filled)
    shown = ~missing[windows].all(axis=1, keepdims=True)
    np.add.at(total, windows, np.where(shown, answers, 0.0))
    np.add.at(count, windows, np.broadcast_to(shown, answers.shape).astype(float))
    able = missing & (count > 0)
    filled[able] = total[able] / count[able]
    for series in np.flatnonzero(np.isnan(filled).any(axis=0)):
        first, last = stretches(np.isnan(filled[:, series]))[0]
        error = InputError(
            f"{table.name}, series {table.names[series]}",
            f"has no value from {table.stamps[first]} to {table.stamps[last]} (rows {first + FIRST_ROW} to "
            f"{last + FIRST_ROW}), nor in any window of {length} rows around them",
        )
        counts.refuse(error, on_invalid)
    return filled


def write_filled(source: Path, out: Path, table: SeriesTable, filled: NDArray[np.float64]) -> None:
    """Writes a file with its missing values filled; everything else of a CSV stays as it is, to the letter.

    Rows that a series of a long file lacks between its first and its last one are added at the end.

    Args:
        source: The file.
        out: Where the filled one goes.
        table: What was read from it.
        filled: Its values, filled.
    """
    parquet = source.suffix in PARQUET
    frame: Any = read_frame(source)
    text: Any = frame if parquet else pd.read_csv(source, dtype=str, keep_default_na=False)
    new = ~np.isnan(filled) & np.isnan(table.values)
    if table.form == "wide":
        text = _with_rows(text, table, read_stamps(frame.iloc[:, 0], table.name), parquet)
        for place in range(len(table.names)):
            rows = np.flatnonzero(new[:, place])
            _put(text, text.columns[place + 1], rows, filled[rows, place])
        _write(text, out)
        return
    identity, time, target = table.columns
    places = {name: place for place, name in enumerate(table.names)}
    columns = frame[identity].astype(str).map(places).to_numpy()
    rows = table.stamps.get_indexer(read_stamps(frame[time], table.name))
    there = np.flatnonzero(new[rows, columns])
    _put(text, target, there, filled[rows[there], columns[there]])
    new[rows, columns] = False
    added = []
    for name, place in places.items():
        own = rows[columns == place]
        span = np.arange(own.min(), own.max() + 1)
        for row in span[new[span, place]]:
            value = filled[row, place]
            stamp = table.stamps[row]
            cells = (name, stamp, value) if parquet else (name, str(stamp), repr(float(value)))
            added.append(dict(zip(table.columns, cells, strict=True)))
    if added:
        text = pd.concat([text, pd.DataFrame(added)], ignore_index=True)
    _write(text, out)


def _with_rows(text: Any, table: SeriesTable, stamps: pd.Index, parquet: bool) -> Any:
    """Returns a wide file with the rows that it lacks on the clock of its table."""
    if len(text) == len(table.stamps):
        return text
    places = table.stamps.get_indexer(stamps)
    text = text.set_axis(places).reindex(
        range(len(table.stamps)), fill_value=np.nan if parquet else ""
    )
    absent = np.setdiff1d(np.arange(len(text)), places)
    new = table.stamps[absent]
    # In a frame of objects, so that stamps of any type fit.
    first = text.iloc[:, 0].astype(object)
    first.iloc[absent] = list(new) if parquet else list(map(str, new))
    text.isetitem(0, first.infer_objects())
    return text


def _put(frame: Any, column: Any, rows: NDArray[np.int64], values: NDArray[np.float64]) -> None:
    """Writes numbers into cells, as text where the column is text."""
    place = frame.columns.get_loc(column)
    if not len(rows):
        return
    if pd.api.types.is_numeric_dtype(frame[column]):
        frame[column] = frame[column].astype(np.float64)
        frame.iloc[rows, place] = values
    else:
        frame.iloc[rows, place] = [repr(float(value)) for value in values]


def _write(frame: Any, out: Path) -> None:
    if out.suffix in PARQUET:
        write_frame(frame, out)
        return
    with atomic_write(out, "w") as file:
        frame.to_csv(file, index=False, lineterminator="\n", na_rep="")
