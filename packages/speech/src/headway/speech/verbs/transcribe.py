"""Writes what is said in recordings."""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headway.core.cli.counts import Counts, Policy
from headway.core.cli.job import Job, write_csv
from headway.core.cli.options import add_batch_size, check_positive
from headway.core.cli.progress import progress_bar
from headway.core.errors import InputError, UserError
from headway.core.files import save_figure
from headway.speech.batch import padded
from headway.speech.data.batching import by_length
from headway.speech.data.cutting import quiet_cuts
from headway.speech.hypothesis import Hypothesis, joined
from headway.speech.models import Recogniser
from headway.speech.search import GREEDY, Search
from headway.speech.verbs.inputs import (
    Item,
    add_columns,
    find_items,
    parse_columns,
    read_item,
)
from headway.speech.verbs.loading import load_recogniser

COLUMNS = ["file", "start", "duration", "text", "confidence", "reference", "error"]
# Seconds of a batch, and how many batches are read ahead to be sorted by length.
SECONDS, READ = 240.0, 8


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway transcribe``."""
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="AUDIO",
        help="recordings, folders (with subfolders), manifests (.jsonl, .csv)",
    )
    add_batch_size(parser, 16, "recordings")
    parser.add_argument(
        "--batch-seconds",
        type=float,
        default=SECONDS,
        metavar="S",
        help=f"most seconds of a batch, padding counted ({SECONDS:g})",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FOLDER",
        help="draw each recording with what was heard where, into FOLDER",
    )
    add_columns(parser)
    parser.add_argument(
        "--channel",
        type=int,
        metavar="N",
        help="which channel is heard, from 0 (all are averaged)",
    )


def run(args: argparse.Namespace) -> int:
    """Writes one row per recording; returns 1 if none could be read."""
    check_positive(args, "batch_size", "batch_seconds")
    job = Job(args, "transcribe with", items="recordings")
    ending = ".csv" if job.path is None else job.path.suffix
    if ending not in (".csv", ".jsonl"):
        raise UserError(f"{job.path} is neither .csv nor .jsonl; name the result by one of them")
    columns = parse_columns(args.columns)
    items = find_items(args.inputs, job.counts, args.on_invalid, columns=columns)
    if args.plot is not None and args.plot.exists() and not args.plot.is_dir():
        raise UserError(f"{args.plot} is a file; --plot takes a folder")
    model = load_recogniser(args.checkpoint, args.device)
    rows = transcribe(
        model,
        items,
        batch_size=args.batch_size,
        batch_seconds=args.batch_seconds,
        on_invalid=args.on_invalid,
        counts=job.counts,
        plot=args.plot,
        channel=args.channel,
    )
    with job.file() as file:
        if ending == ".jsonl":
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        else:
            write_csv(file, COLUMNS, rows)
    return job.end(f"transcriptions written{job.place}", transcribed=job.counts.done)


def transcribe(
    model: Recogniser,
    items: Sequence[Item],
    *,
    batch_size: int = 16,
    batch_seconds: float = SECONDS,
    on_invalid: Policy = "raise",
    counts: Counts | None = None,
    plot: Path | None = None,
    channel: int | None = None,
    search: Search = GREEDY,
) -> Iterator[dict[str, Any]]:
    """Yields one row per recording, in the order of the items.

    Args:
        model: The recogniser.
        items: The recordings.
        batch_size: Most recordings of a batch; those of similar length are read together.
        batch_seconds: Most seconds of a batch, padding counted; a longer recording is alone.
        on_invalid: ``raise`` stops at a recording that cannot be used, ``skip`` leaves its row out,
            ``keep`` writes a row with the error.
        counts: Is told what became of each recording.
        plot: Folder for a picture of each recording.
        channel: Which channel is heard, from 0, where a manifest does not say; all of them if None.
        search: How the text is looked for.
    """
    counts = counts or Counts("recordings")
    search = search if plot is None else replace(search, curves=True)
    rate = model.front_end.sample_rate
    with progress_bar("transcribing", total=len(items)) as advance:
        for start in range(0, len(items), READ * batch_size):
            chosen = items[start : start + READ * batch_size]
            found = [read_item(item, model, channel=channel) for item in chosen]
            for error in found:
                if isinstance(error, InputError):
                    counts.refuse(error, on_invalid)
                    advance(1)
            readable = [entry for entry in found if not isinstance(entry, InputError)]
            answers = iter(_heard(model, readable, batch_size, batch_seconds, search, advance))
            for place, (item, waveform) in enumerate(zip(chosen, found, strict=True), start=start):
                if isinstance(waveform, InputError):
                    if on_invalid == "keep":
                        yield {"file": item.shown, "error": waveform.reason}
                    continue
                counts.done += 1
                heard = next(answers)
                if plot is not None:
                    name = f"{place:04d}_{item.row.audio.stem}.png"
                    _draw(model, item, waveform, heard, plot / name)
                yield {
                    "file": item.shown,
                    "start": item.row.start,
                    "duration": round(len(waveform) / rate, 3),
                    "text": heard.text,
                    "confidence": round(heard.confidence, 6),
                    **({} if item.row.text is None else {"reference": item.row.text}),
                }


@torch.inference_mode()
def _heard(
    model: Recogniser,
    recordings: Sequence[Tensor],
    batch_size: int,
    batch_seconds: float,
    search: Search,
    advance: Callable[[int], None],
) -> list[Hypothesis]:
    """Returns what was heard in each recording; long ones are heard in parts."""
    rate = model.front_end.sample_rate
    parts = [
        (place, start, waveform[start:end])
        for place, waveform in enumerate(recordings)
        for start, end in quiet_cuts(waveform, rate, model.longest)
    ]
    left = Counter(place for place, _, _ in parts)
    heard: dict[int, Hypothesis] = {}
    lengths = [len(samples) / rate for _, _, samples in parts]
    for group in by_length(lengths, batch_size=batch_size, batch_seconds=batch_seconds):
        inputs, samples = padded([parts[number][2] for number in group])
        answers = model.hear(inputs.to(model.device), samples.to(model.device), search=search)
        for number, answer in zip(group, answers, strict=True):
            place, start, _ = parts[number]
            heard[number] = answer.later(start / rate)
            left[place] -= 1
            if not left[place]:
                advance(1)
    found: list[list[Hypothesis]] = [[] for _ in recordings]
    for number, (place, _, _) in enumerate(parts):
        found[place].append(heard[number])
    return [joined(one) for one in found]


@torch.inference_mode()
def _draw(model: Recogniser, item: Item, waveform: Tensor, heard: Hypothesis, path: Path) -> None:
    # By its full path here: matplotlib loads only where something is drawn.
    from headway.speech.figures import transcription_figure

    [inputs], _ = model.front_end(waveform[None].to(model.device))
    seconds = len(waveform) / model.front_end.sample_rate
    figure = transcription_figure(inputs, heard, seconds=seconds, said=item.row.text)
    save_figure(figure, path)
