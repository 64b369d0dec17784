"""Scores every step of a file, and flags those that are unlike what a model has learned."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from headway.core.cli.counts import Counts, Policy
from headway.core.cli.job import Job
from headway.core.cli.options import add_plot
from headway.core.errors import InputError, UserError
from headway.timeseries.data.frames import write_frame
from headway.timeseries.data.labels import labels_of
from headway.timeseries.data.table import SeriesTable, read_table
from headway.timeseries.figures import anomaly_figure
from headway.timeseries.metrics.step_scores import StepScores
from headway.timeseries.prediction.reconstructor import Reconstructor, load_reconstructor
from headway.timeseries.verbs.options import add_freq

RECIPE = "timeseries/anomalies_ucr"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway detect-anomalies``."""
    parser.add_argument(
        "input", type=Path, metavar="FILE", help="CSV or parquet, wide or unique_id, ds, y"
    )
    add_freq(parser)
    parser.add_argument(
        "--threshold", type=float, help="flag scores above it (default: that of the model)"
    )
    add_plot(parser, "series and scores")


def run(args: argparse.Namespace) -> int:
    """Writes one row for each step; returns 1 if none has a score."""
    job = Job(args, "detect anomalies with", items="series", out="file", extra=["plot"])
    model = load_reconstructor(args.checkpoint, args.device, "anomalies", RECIPE)
    threshold = args.threshold if args.threshold is not None else model.notes.get("threshold")
    if threshold is None:
        raise UserError(
            f"{args.checkpoint} was trained without a validation part and has no threshold; give --threshold"
        )
    table = read_table(args.input, freq=args.freq, usual=model.notes.get("step"))
    labels = None
    column = model.notes.get("labels")
    if column in table.names:
        labels = labels_of(table, column)
    table = without(table, column)
    scores = score_steps(model, table, on_invalid=args.on_invalid, counts=job.counts)
    flagged = np.nan_to_num(scores, nan=-np.inf) > threshold
    columns = {table.columns[1 if table.form == "long" else 0]: table.stamps}
    frame = pd.DataFrame({**columns, "score": scores, "flagged": flagged.astype(int)})
    write_frame(frame, args.out)
    job.draw(anomaly_figure, table.stamps, table.values, scores, threshold, table.names, labels)
    job.counts.done = scored = int((~np.isnan(scores)).sum())
    found = int(flagged.sum())
    said = f"steps scored, {found} of them above {threshold:.6g}, written{job.place}"
    return job.end(said, scored=scored, flagged=found, threshold=threshold)


def without(table: SeriesTable, column: str | None) -> SeriesTable:
    """Returns a table without the column of labels, if it has one."""
    kept = [place for place, name in enumerate(table.names) if name != column]
    return SeriesTable(
        name=table.name,
        stamps=table.stamps,
        step=table.step,
        names=tuple(table.names[place] for place in kept),
        values=table.values[:, kept],
        form=table.form,
        columns=table.columns,
    )


def score_steps(
    model: Reconstructor,
    table: SeriesTable,
    *,
    on_invalid: Policy = "raise",
    counts: Counts | None = None,
) -> NDArray[np.float64]:
    """Returns the score of each step, NaN where no series has a value.

    It is the squared error of the scaled values, averaged over all windows that hold a step and over its
    known series.

    Args:
        model: The model.
        table: The series.
        on_invalid: What to do with a series without any value; left out, the others are scored.
        counts: Is told what became of each series.

    Shape:
        Output: (T,).

    Raises:
        InputError: If the table is shorter than a window, or has other steps of time than the model.
    """
    counts = counts or Counts("series")
    model.check(table)
    known = ~np.isnan(table.values)
    for series in np.flatnonzero(~known.any(axis=0)):
        error = InputError(f"{table.name}, series {table.names[series]}", "has no value")
        counts.refuse(error, on_invalid)
    scaler = model.predictor.scaler(table)
    scaled = scaler.forward(table.values)
    steps = StepScores(len(known))
    for starts, answer in model.answers(table, scaler, np.arange(len(known) - model.length + 1)):
        windows = starts[:, None] + np.arange(model.length)
        parts = (answer - scaled[windows], starts, known[windows])
        steps.update(*map(torch.from_numpy, parts))
    return steps.compute().numpy()
