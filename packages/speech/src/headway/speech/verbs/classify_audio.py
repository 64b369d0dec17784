"""Says to which class recordings belong, and writes a table."""

import argparse
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from headway.core.cli.counts import Counts, Policy
from headway.core.cli.job import Job
from headway.core.cli.loading import load_model
from headway.core.cli.options import add_batch_size, check_positive
from headway.core.cli.progress import with_progress
from headway.core.errors import InputError, UserError
from headway.speech.batch import padded
from headway.speech.models import AudioClassifier
from headway.speech.verbs.inputs import Item, add_recordings, find_items, read_item

MOST_CLASSES = 2**16  # a table has two columns for each


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway classify-audio``."""
    add_recordings(parser)
    add_batch_size(parser, 32, "recordings")
    parser.add_argument("--top", type=int, default=3, help="how many classes to list (3)")


def run(args: argparse.Namespace) -> int:
    """Writes one row per recording; returns 1 if none could be read."""
    check_positive(args, "batch_size")
    check_positive(args, "top", most=MOST_CLASSES)
    job = Job(args, "classify with", items="recordings")
    items = find_items(args.inputs, job.counts, args.on_invalid)
    model = load_classifier(args.checkpoint, args.device)
    rows = classify(
        model,
        items,
        batch_size=args.batch_size,
        top=args.top,
        on_invalid=args.on_invalid,
        counts=job.counts,
        channel=args.channel,
    )
    job.table(columns(args.top), rows)
    return job.end(f"classes written{job.place}", classified=job.counts.done)


def load_classifier(source: str, device: str | None = None) -> AudioClassifier:
    """Loads a run folder, a checkpoint, a directory or a hub id, in evaluation mode.

    Raises:
        UserError: If the source is no classifier of recordings, or was never trained.
    """
    hint = "which tells no classes of recordings; train one with headway fit -c speech/ast_digits"
    model, _ = load_model(source, device, AudioClassifier, hint)
    if not model.classes or not model.front_end.complete:
        raise UserError(
            f"{source} was never trained: it knows no classes, or no level of its sound"
        )
    return model


def columns(top: int) -> list[str]:
    """Returns the columns of the table."""
    ranked = [
        f"{name}_{rank}" for rank in range(2, top + 1) for name in ("prediction", "probability")
    ]
    return ["file", "duration", "prediction", "probability", *ranked, "error"]


def classify(
    model: AudioClassifier,
    items: Sequence[Item],
    *,
    batch_size: int = 32,
    top: int = 3,
    on_invalid: Policy = "raise",
    counts: Counts | None = None,
    channel: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Yields one row per recording, in the order of the items.

    Args:
        model: The classifier.
        items: The recordings.
        batch_size: Recordings of a batch.
        top: How many classes a row lists.
        on_invalid: ``raise`` stops at a recording that cannot be used, ``skip`` leaves its row out, ``keep``
            writes a row with the error.
        counts: Is told what became of each recording.
        channel: Which channel is heard, from 0, where a manifest does not say; all of them if None.
    """
    counts, rate = counts or Counts("recordings"), model.front_end.sample_rate

    waiting = iter(with_progress(items, "classifying"))
    while chosen := list(islice(waiting, batch_size)):
        found = [read_item(item, model, channel=channel) for item in chosen]
        heard = iter(_heard(model, [one for one in found if not isinstance(one, InputError)]))
        for item, one in zip(chosen, found, strict=True):
            if isinstance(one, InputError):
                counts.refuse(one, on_invalid)
                if on_invalid == "keep":
                    yield {"file": item.shown, "error": one.reason}
                continue
            counts.done += 1
            row = {"file": item.shown, "duration": round(len(one) / rate, 3)}
            yield {**row, **_ranked(model.classes, next(heard), top)}


@torch.inference_mode()
def _heard(model: AudioClassifier, waveforms: list[Tensor]) -> Sequence[Tensor]:
    if not waveforms:
        return []
    inputs, samples = padded(waveforms)
    return list(model.hear(inputs.to(model.device), samples.to(model.device)).float().cpu())


def _ranked(classes: Sequence[str], probabilities: Tensor, top: int) -> dict[str, Any]:
    best = probabilities.topk(min(top, len(probabilities)))
    row: dict[str, Any] = {}
    ranks = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    for rank, (label, probability) in enumerate(ranks, start=1):
        ending = "" if rank == 1 else f"_{rank}"
        row[f"prediction{ending}"] = classes[label]
        row[f"probability{ending}"] = f"{probability:.6f}"
    return row
