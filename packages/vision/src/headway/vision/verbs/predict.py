"""Predicts the classes of pictures and writes a table."""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from headway.core.cli.counts import Counts, Policy
from headway.core.cli.job import Job
from headway.core.cli.options import check_positive
from headway.vision.data.reading import ImageError
from headway.vision.verbs.exported import classifier_from
from headway.vision.verbs.inputs import (
    Item,
    add_input_options,
    find_items,
    read_batches,
    stack,
)
from headway.vision.verbs.loading import Classifier

MOST_CLASSES = 2**16  # a table has two columns for each


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway predict`` for pictures."""
    add_input_options(parser, batch_size=32)
    parser.add_argument("--top", type=int, default=5, help="how many classes to list (5)")


def run(args: argparse.Namespace) -> int:
    """Writes one row per picture; returns 1 if none could be read."""
    check_positive(args, "batch_size")
    check_positive(args, "top", most=MOST_CLASSES)
    job = Job(args, "predict with", items="pictures")
    items, job.counts.ignored = find_items(args.inputs)
    classifier = classifier_from(args.checkpoint, args.device)
    rows = predict(
        classifier,
        items,
        batch_size=args.batch_size,
        workers=args.workers,
        top=args.top,
        on_invalid=args.on_invalid,
        counts=job.counts,
    )
    job.table(columns(args.top), rows)
    return job.end(f"predictions written{job.place}", predicted=job.counts.done)


def predict(
    classifier: Classifier,
    items: Sequence[Item],
    *,
    batch_size: int = 32,
    workers: int = 0,
    top: int = 5,
    on_invalid: Policy = "raise",
    counts: Counts | None = None,
) -> Iterator[dict[str, Any]]:
    """Yields one row per picture, in the order of the items.

    Args:
        classifier: The model.
        items: The pictures.
        batch_size: Pictures of a batch.
        workers: Processes that decode.
        top: How many classes a row lists.
        on_invalid: ``raise`` stops at a picture that cannot be read, ``skip`` leaves its row out,
            ``keep`` writes a row with the error.
        counts: Is told what became of each picture.
    """
    counts = counts or Counts("pictures")
    for batch in read_batches(
        items,
        classifier.preprocessing,
        batch_size=batch_size,
        workers=workers,
        on_invalid=on_invalid,
        counts=counts,
        doing="predicting",
    ):
        images = stack(batch)
        answers = iter(() if images is None else classifier.probabilities(images))
        for item, found in batch:
            if not isinstance(found, ImageError):
                counts.done += 1
                yield {"file": item.shown, **_ranked(classifier, next(answers), top)}
            elif on_invalid == "keep":
                yield {"file": item.shown, "error": found.reason}


def columns(top: int) -> list[str]:
    """Returns the columns of the table."""
    ranked = [
        f"{name}_{rank}" for rank in range(2, top + 1) for name in ("prediction", "probability")
    ]
    return ["file", "prediction", "probability", *ranked, "error"]


def _ranked(classifier: Classifier, probabilities: Tensor, top: int) -> dict[str, Any]:
    best = probabilities.topk(min(top, len(probabilities)))
    row: dict[str, Any] = {}
    ranks = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    for rank, (label, probability) in enumerate(ranks, start=1):
        ending = "" if rank == 1 else f"_{rank}"
        row[f"prediction{ending}"] = classifier.name(label)
        row[f"probability{ending}"] = f"{probability:.6f}"
    return row
