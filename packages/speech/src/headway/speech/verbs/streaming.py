"""Recordings as if they were just being spoken: the text as it comes, and how long it took."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from headway.core.cli.counts import Counts, Policy
from headway.core.cli.options import Numbers
from headway.core.errors import InputError, UserError
from headway.speech.hypothesis import Hypothesis
from headway.speech.layers.chunks import Context
from headway.speech.models import Recogniser
from headway.speech.recognition_stream import RecognitionStream
from headway.speech.verbs.inputs import Item, read_item
from headway.speech.verbs.written import Transcript

PIECE = 0.1  # seconds
LIVE = "-"
# What a row says besides, in seconds, but for the factor.
FIGURES = ("latency", "first_text", "chunk_rtf", "worst_chunk_rtf")


@dataclass(frozen=True)
class Heard:
    """A recording that was heard piece by piece.

    Args:
        hypothesis: What was heard.
        figures: By the names of ``FIGURES``: how long a sound waits for its text if computing takes no
            time; seconds of sound that had come at the first text, and of computing for it; seconds of
            computing for a second of sound, of all pieces and of the slowest chunk.
    """

    hypothesis: Hypothesis
    figures: dict[str, float]


def add_stream(parser: argparse.ArgumentParser) -> None:
    """Adds ``--stream`` and ``--context``."""
    parser.add_argument(
        "--stream",
        nargs="?",
        type=float,
        const=PIECE,
        metavar="S",
        help="hear each recording as if it were just being spoken, in pieces of S seconds "
        f"({PIECE:g}), and print the text as it comes; AUDIO - are 16-bit samples from standard input",
    )
    parser.add_argument(
        "--context",
        nargs=1,
        action=Numbers,
        metavar="C,L",
        help="with --stream: tokens of a chunk, and chunks of the past that it sees (as trained)",
    )


def check_stream(args: argparse.Namespace) -> Context | None:
    """Returns the context that is asked for.

    Raises:
        UserError: If it is none, or what was asked for goes without or not with a stream.
    """
    if args.stream is None:
        if args.context is not None:
            raise UserError("--context is for --stream; give both")
        return None
    if not 0.001 <= args.stream <= 3600:
        raise UserError(f"--stream {args.stream:g} lies between .001 and 3,600 seconds")
    if args.plot is not None or args.cut is not None or args.speech_only:
        raise UserError(
            "--plot, --cut and --speech-only are for whole recordings; leave them or --stream out"
        )
    if args.context is None:
        return None
    if len(args.context) != 2 or any(number != int(number) for number in args.context):
        raise UserError(f"--context takes two whole numbers, such as 8,4; got {args.context}")
    return int(args.context[0]), int(args.context[1])


def streamed(
    model: Recogniser,
    items: Sequence[Item],
    *,
    piece: float = PIECE,
    context: Context | None = None,
    on_invalid: Policy = "raise",
    counts: Counts | None = None,
    channel: int | None = None,
    show: Callable[[str], None] | None = None,
) -> Iterator[Transcript]:
    """Yields one row per recording and what was heard in it.

    Args:
        model: The recogniser.
        items: The recordings.
        piece: Seconds of sound that come at once.
        context: Tokens of a chunk and chunks of the past; as the model has it if None.
        on_invalid: As of ``transcripts``.
        counts: Is told what became of each recording.
        channel: Which channel is heard, from 0, where a manifest does not say; all of them if None.
        show: Takes a line of the text so far; standard error does if None.
    """
    counts = counts or Counts("recordings")
    rate = model.front_end.sample_rate
    for item in items:
        waveform = read_item(item, model, channel=channel)
        if isinstance(waveform, InputError):
            counts.refuse(waveform, on_invalid)
            if on_invalid == "keep":
                yield {"file": item.shown, "error": waveform.reason}, None
            continue
        counts.done += 1
        found = hear_streamed(
            model.stream(context=context), waveform.split(max(1, round(piece * rate))), show=show
        )
        heard = found.hypothesis
        row: dict[str, Any] = {
            "file": item.shown,
            "start": item.row.start,
            "duration": round(len(waveform) / rate, 3),
            "text": heard.text,
            "confidence": round(heard.confidence, 6),
            **({} if item.row.text is None else {"reference": item.row.text}),
            **{name: round(value, 4) for name, value in found.figures.items()},
        }
        yield row, heard.later(item.row.start) if item.row.start else heard


def live(
    model: Recogniser,
    source: IO[bytes],
    *,
    piece: float = PIECE,
    context: Context | None = None,
    show: Callable[[str], None] | None = None,
) -> Iterator[Transcript]:
    """Yields one row of what comes from a microphone, once it ends or is interrupted.

    Args:
        model: The recogniser.
        source: Gives samples, 16 bits each, the lower byte first, at the rate of the model.
        piece: Seconds of sound that are read at once.
        context: As of ``streamed``.
        show: As of ``streamed``.

    Raises:
        UserError: If nothing came.
    """
    rate = model.front_end.sample_rate
    stream = model.stream(context=context)
    found = hear_streamed(stream, _samples(source, max(1, round(piece * rate))), show=show)
    yield (
        {
            "file": LIVE,
            "start": 0.0,
            "duration": round(stream.samples / rate, 3),
            "text": found.hypothesis.text,
            "confidence": round(found.hypothesis.confidence, 6),
            **{name: round(value, 4) for name, value in found.figures.items()},
        },
        found.hypothesis,
    )


def _samples(source: IO[bytes], size: int) -> Iterator[Tensor]:
    """Yields pieces of samples until there are no more, or somebody presses Ctrl-C."""
    try:
        while data := source.read(2 * size):
            whole = np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2")
            yield torch.from_numpy(whole.astype(np.float32) / 2**15)
    except KeyboardInterrupt:
        return


def hear_streamed(
    stream: RecognitionStream,
    pieces: Iterable[Tensor],
    *,
    show: Callable[[str], None] | None = None,
) -> Heard:
    """Returns what was heard in a recording that comes in pieces, and how long it took.

    Args:
        stream: A new one.
        pieces: Samples of the recording.
        show: Takes a line with the seconds of sound and the text, whenever it has grown.

    Raises:
        UserError: If there are no samples.
    """
    show = show or _show
    figures = {"latency": stream.latency}
    shown, computing, worst, waiting, before = "", 0.0, 0.0, 0.0, 0
    for piece in pieces:
        began = perf_counter()
        text = stream.push(piece)
        took = perf_counter() - began
        computing, waiting = computing + took, waiting + took
        heard = stream.samples / stream.sample_rate
        if stream.tokens > before:
            worst = max(worst, waiting / ((stream.tokens - before) * stream.seconds_per_token))
            before, waiting = stream.tokens, 0.0
        if text != shown:
            show(f"{heard:8.2f} s  {text}")
            figures.setdefault("first_text", heard + took)
            shown = text
    if not stream.samples:
        raise UserError("no samples came; give a recording, or pipe 16-bit samples in")
    began = perf_counter()
    hypothesis = stream.finish()
    took = perf_counter() - began
    seconds = stream.samples / stream.sample_rate
    if hypothesis.text != shown:
        show(f"{seconds:8.2f} s  {hypothesis.text}")
        figures.setdefault("first_text", seconds + took)
    figures["chunk_rtf"] = (computing + took) / seconds
    figures["worst_chunk_rtf"] = worst
    return Heard(hypothesis, figures)


def _show(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
