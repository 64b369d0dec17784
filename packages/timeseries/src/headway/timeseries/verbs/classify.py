"""Predicts the classes of series and writes a table."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from headway.core.cli.counts import Counts, Policy
from headway.core.cli.job import Job
from headway.core.cli.loading import load_model
from headway.core.cli.options import add_batch_size, check_positive
from headway.core.errors import InputError, UserError
from headway.timeseries.data.frames import write_frame
from headway.timeseries.data.padding import pad_series
from headway.timeseries.data.scaler import Scaler
from headway.timeseries.data.ts_file import LabelledSeries, read_ts
from headway.timeseries.prediction.notes import read_notes

RECIPE = "timeseries/transformer_vowels"


@dataclass(frozen=True, kw_only=True)
class SeriesClassification:
    """A classifier of series ready to predict.

    Args:
        model: In evaluation mode, on its device.
        classes: Names of the classes.
        scaler: Of the channels.
        device: Where the model is.
    """

    model: nn.Module
    classes: tuple[str, ...]
    scaler: Scaler
    device: torch.device

    @torch.inference_mode()
    def probabilities(self, series: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Returns the probabilities of the classes, (B, K)."""
        batch = pad_series([self.scaler.forward(values) for values in series])
        batch = {name: values.to(self.device) for name, values in batch.items()}
        logits = self.model(batch.pop("x"), **batch)
        return logits.double().softmax(dim=-1).cpu().numpy()


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway classify``."""
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="FILE", help=".ts files, with classes or without"
    )
    add_batch_size(parser, 64, "series")


def run(args: argparse.Namespace) -> int:
    """Writes one row for each case; returns 1 if there is none."""
    check_positive(args, "batch_size")
    job = Job(args, "classify with", items="cases", out="file")
    classifier = load_classifier(args.checkpoint, args.device)
    rows: list[dict[str, Any]] = []
    for path in args.inputs:
        try:
            with job.counts.parts(args.on_invalid) as invalid:
                found = read_ts(path, invalid)
        except InputError as error:
            job.counts.refuse(error, args.on_invalid)
            continue
        rows += classify(
            classifier,
            found,
            batch_size=args.batch_size,
            on_invalid=args.on_invalid,
            counts=job.counts,
        )
    columns = ["file", "line", "prediction", "probability", *_columns(classifier), "label"]
    write_frame(pd.DataFrame(rows, columns=columns).dropna(axis=1, how="all"), args.out)
    told = [row for row in rows if row["label"] is not None]
    right = sum(row["prediction"] == row["label"] for row in told)
    known = f"; {right} of {len(told)} as the file says" if told else ""
    facts = {"accuracy": right / len(told)} if told else {}
    said = f"cases classified, written{job.place}{known}"
    return job.end(said, classified=job.counts.done, **facts)


def load_classifier(source: str, device: str | None = None) -> SeriesClassification:
    """Loads a run folder, a checkpoint, a directory or a hub id.

    Raises:
        UserError: If it holds no classifier of series.
    """
    model, place = load_model(source, device, nn.Module)
    notes = read_notes(source)
    if "classes" not in notes or "mean" not in notes:
        raise UserError(
            f"{source} holds a {type(model).__name__} that was not trained to classify series; train one "
            f"with headway fit -c {RECIPE}"
        )
    return SeriesClassification(
        model=model,
        classes=tuple(notes["classes"]),
        scaler=Scaler.from_dict(notes),
        device=place,
    )


def classify(
    classifier: SeriesClassification,
    found: LabelledSeries,
    *,
    batch_size: int = 64,
    on_invalid: Policy = "raise",
    counts: Counts | None = None,
) -> Iterator[dict[str, Any]]:
    """Yields one row for each case, in the order of the file.

    Args:
        classifier: The model.
        found: The cases.
        batch_size: Cases of a batch.
        on_invalid: What to do with a case that the model cannot read: it has other channels, or is longer
            than the model reads.
        counts: Is told what became of each case.

    Raises:
        InputError: For such a case; it names its line.
    """
    counts = counts or Counts("cases")
    able = []
    for place, values in enumerate(found.series):
        reason = _reason(classifier, values)
        if reason is None:
            able.append(place)
            continue
        counts.refuse(InputError(f"{found.name}, line {found.lines[place]}", reason), on_invalid)
    for start in range(0, len(able), batch_size):
        places = able[start : start + batch_size]
        answers = classifier.probabilities([found.series[place] for place in places])
        for place, answer in zip(places, answers, strict=True):
            counts.done += 1
            best = int(answer.argmax())
            label = found.classes[found.labels[place]] if len(found.labels) else None
            yield {
                "file": found.name,
                "line": found.lines[place],
                "prediction": classifier.classes[best],
                "probability": round(float(answer[best]), 6),
                **dict(zip(_columns(classifier), answer.round(6).tolist(), strict=True)),
                "label": label,
            }


def _columns(classifier: SeriesClassification) -> list[str]:
    return [f"p_{name}" for name in classifier.classes]


def _reason(classifier: SeriesClassification, values: NDArray[np.float64]) -> str | None:
    """Returns why a case cannot be read; None if it can."""
    wanted = len(classifier.scaler.names)
    if values.shape[1] != wanted:
        return f"has {values.shape[1]} channels, the model was trained on {wanted}"
    most = getattr(classifier.model, "context_length", None)
    if most is not None and len(values) > most:
        return f"has {len(values)} steps, the model reads up to {most}"
    return None
