"""Writes what is said in recordings."""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headway.core.cli.counts import Counts, Policy
from headway.core.cli.job import Job
from headway.core.cli.options import add_batch_size, check_positive
from headway.core.cli.progress import progress_bar
from headway.core.errors import InputError, UserError
from headway.core.files import save_figure
from headway.speech.batch import padded
from headway.speech.data.batching import by_length
from headway.speech.data.cutting import quiet_cuts
from headway.speech.data.voice_activity import speech_spans
from headway.speech.hypothesis import Hypothesis, joined
from headway.speech.metrics import NORMALISERS, character_errors, normalise, word_errors
from headway.speech.models import Recogniser
from headway.speech.search import GREEDY, Search
from headway.speech.verbs.inputs import (
    Item,
    add_columns,
    add_recordings,
    find_items,
    parse_columns,
    read_item,
)
from headway.speech.verbs.loading import load_recogniser
from headway.speech.verbs.searching import add_search, wishes
from headway.speech.verbs.streaming import (
    FIGURES,
    LIVE,
    add_stream,
    check_stream,
    live,
    streamed,
)
from headway.speech.verbs.written import Transcript, check_ending, check_number, write_transcripts

# Seconds of a batch, and how many batches are read ahead to be sorted by length.
SECONDS, READ = 240.0, 8


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway transcribe``."""
    add_recordings(parser)
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
        "--cut",
        type=float,
        metavar="S",
        help="cut longer recordings where it is quiet, and hear the parts side by side",
    )
    parser.add_argument(
        "--speech-only",
        action="store_true",
        help="hear the stretches in which somebody speaks, as Silero's detector finds them, and no others",
    )
    parser.add_argument(
        "--normalise",
        choices=list(NORMALISERS),
        default="words",
        help="how texts are written before errors are counted, where references are known (words: small "
        "letters without marks; english: numbers and short forms in full, too)",
    )
    add_search(parser)
    add_stream(parser)


def run(args: argparse.Namespace) -> int:
    """Writes one row per recording; returns 1 if none could be read."""
    check_positive(args, "batch_size", "batch_seconds")
    check_positive(args, "cut", most=10**6)
    context = check_stream(args)
    job = Job(args, "transcribe with", items="recordings")
    ending = check_ending(job.path)
    columns = parse_columns(args.columns)
    spoken = args.stream is not None and args.inputs == [LIVE]
    items = [] if spoken else find_items(args.inputs, job.counts, args.on_invalid, columns=columns)
    if args.plot is not None and args.plot.exists() and not args.plot.is_dir():
        raise UserError(f"{args.plot} is a file; --plot takes a folder")
    check_number(ending, 1 if spoken else len(items))
    model = load_recogniser(args.checkpoint, args.device)
    said: list[tuple[str, str]] = []
    wished = wishes(args)
    reading: dict[str, Any] = {
        "on_invalid": args.on_invalid,
        "counts": job.counts,
        "channel": args.channel,
    }
    if args.stream is not None:
        if wished:
            raise UserError(f"--stream writes the likeliest token; leave {next(iter(wished))} out")
        how: dict[str, Any] = {"piece": args.stream, "context": context}
        if spoken:
            rows = live(model, sys.stdin.buffer, **how)
            job.counts.done = 1
        else:
            rows = streamed(model, items, **how, **reading)
    else:
        rows = transcripts(
            model,
            items,
            batch_size=args.batch_size,
            batch_seconds=args.batch_seconds,
            plot=args.plot,
            search=model.search(**wished),
            cut=args.cut,
            speech_only=args.speech_only,
            **reading,
        )
    figures = () if args.stream is None else FIGURES
    with job.file() as file:
        write_transcripts(file, ending, compared(rows, said, args.normalise), figures)
    errors = {"wer": word_errors(said), "cer": character_errors(said)} if said else {}
    lines = [one.line(name.upper()) for name, one in errors.items()]
    done = f"transcriptions written{job.place}"
    if lines:
        done = "; ".join([done, *lines, f"texts compared as {args.normalise!r}"])
    facts = {name: {**asdict(one), "rate": one.rate} for name, one in errors.items()}
    return job.end(done, transcribed=job.counts.done, **facts)


def compared(
    rows: Iterable[Transcript], said: list[tuple[str, str]], normaliser: str
) -> Iterator[Transcript]:
    """Yields the rows, and notes references beside what was heard.

    Args:
        rows: Of ``transcripts``.
        said: Where pairs are added.
        normaliser: How both are written before.
    """
    for row, heard in rows:
        if heard is not None and row.get("reference"):
            said.append(
                (normalise(row["reference"], normaliser), normalise(heard.text, normaliser))
            )
        yield row, heard


def transcribe(
    model: Recogniser, items: Sequence[Item], **options: Any
) -> Iterator[dict[str, Any]]:
    """Yields one row per recording; arguments as of ``transcripts``."""
    return (row for row, _ in transcripts(model, items, **options))


def transcripts(
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
    cut: float | None = None,
    speech_only: bool = False,
) -> Iterator[Transcript]:
    """Yields one row per recording and what was heard in it, in the order of the items.

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
        cut: Seconds of a recording that are heard at once; as the model has it if None.
        speech_only: Whether what no detector takes for speech is left out.
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
            parts = _parts(model, readable, cut, speech_only=speech_only)
            answers = iter(_heard(model, parts, batch_size, batch_seconds, search, advance))
            for place, (item, waveform) in enumerate(zip(chosen, found, strict=True), start=start):
                if isinstance(waveform, InputError):
                    if on_invalid == "keep":
                        yield {"file": item.shown, "error": waveform.reason}, None
                    continue
                counts.done += 1
                heard = next(answers)
                if plot is not None:
                    name = f"{place:04d}_{item.row.audio.stem}.png"
                    _draw(model, item, waveform, heard, plot / name)
                row = {
                    "file": item.shown,
                    "start": item.row.start,
                    "duration": round(len(waveform) / rate, 3),
                    "text": heard.text,
                    "confidence": round(heard.confidence, 6),
                    **({} if item.row.text is None else {"reference": item.row.text}),
                }
                # Times are those of the file, wherever in it the recording begins.
                yield row, heard.later(item.row.start) if item.row.start else heard


def _parts(
    model: Recogniser, recordings: Sequence[Tensor], cut: float | None, *, speech_only: bool
) -> list[list[tuple[int, Tensor]]]:
    """Returns the parts of each recording that are heard at once, with the sample where each begins."""
    most = model.longest if cut is None else min(cut, model.longest)
    rate = model.front_end.sample_rate
    found = []
    for waveform in recordings:
        spans = speech_spans(waveform, rate) if speech_only else [(0, len(waveform))]
        cuts = [
            (first + start, first + end)
            for first, last in spans
            for start, end in quiet_cuts(waveform[first:last], rate, most)
        ]
        found.append([(start, waveform[start:end]) for start, end in cuts])
    return found


@torch.inference_mode()
def _heard(
    model: Recogniser,
    recordings: Sequence[Sequence[tuple[int, Tensor]]],
    batch_size: int,
    batch_seconds: float,
    search: Search,
    advance: Callable[[int], None],
) -> list[Hypothesis]:
    """Returns what was heard in each recording, of whose parts those of all are read together."""
    rate = model.front_end.sample_rate
    parts = [
        (place, start, samples)
        for place, cuts in enumerate(recordings)
        for start, samples in cuts
        if model.tokens_of(len(samples)) > 0
    ]
    left = Counter(place for place, _, _ in parts)
    advance(len(recordings) - len(left))
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
    return [joined(one) if one else Hypothesis(text="", confidence=0.0) for one in found]


@torch.inference_mode()
def _draw(model: Recogniser, item: Item, waveform: Tensor, heard: Hypothesis, path: Path) -> None:
    # By its full path here: matplotlib loads only where something is drawn.
    from headway.speech.figures import transcription_figure

    [inputs], _ = model.front_end(waveform[None].to(model.device))
    seconds = len(waveform) / model.front_end.sample_rate
    figure = transcription_figure(inputs, heard, seconds=seconds, said=item.row.text)
    save_figure(figure, path)
