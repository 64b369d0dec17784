"""Recordings that a verb is given: found in folders and manifests, and read."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from headway.core.cli.counts import Counts, Policy
from headway.core.errors import InputError, UserError
from headway.speech.data.audio import EXTENSIONS, AudioError, read_audio
from headway.speech.data.manifest import Utterance, read_manifest
from headway.speech.data.manifest_rows import KALDI, is_table
from headway.speech.models import AudioClassifier
from headway.speech.speech_model import SpeechModel


@dataclass(frozen=True)
class Item:
    """One recording.

    Args:
        shown: Its path for people.
        row: Where it lies, and what is known of it.
    """

    shown: str
    row: Utterance


def add_recordings(parser: argparse.ArgumentParser) -> None:
    """Adds the recordings that a verb is given, and ``--channel``."""
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="AUDIO",
        help="recordings, folders (with subfolders), manifests (.jsonl, .jsonl.gz, .csv)",
    )
    parser.add_argument(
        "--channel",
        type=int,
        metavar="N",
        help="which channel is heard, from 0 (all are averaged)",
    )


def add_columns(parser: argparse.ArgumentParser) -> None:
    """Adds ``--columns``."""
    parser.add_argument(
        "--columns",
        nargs="+",
        default=[],
        metavar="NAME=FIELD",
        help="what columns of a manifest are: audio, text, start, duration, speaker, channel, language or "
        "ignore",
    )


def parse_columns(words: Sequence[str]) -> dict[str, str]:
    """Returns what ``--columns NAME=FIELD`` says, by name."""
    pairs = [word.partition("=") for word in words]
    wrong = next((name for name, sign, field in pairs if not (name and sign and field)), None)
    if wrong is not None:
        raise UserError(f"--columns {wrong!r}: write NAME=FIELD, such as clip=audio")
    return {name: field for name, _, field in pairs}


def find_items(
    inputs: Sequence[str],
    counts: Counts,
    on_invalid: Policy,
    *,
    columns: Mapping[str, str] | None = None,
) -> list[Item]:
    """Returns the recordings of files, folders and manifests, in order.

    Args:
        inputs: What the user gave.
        counts: Is told of other files in folders, and of rows that cannot be used.
        on_invalid: What to do with such rows.
        columns: What columns of manifests are, where their names do not tell.

    Raises:
        UserError: If an input is missing, or there is no recording at all.
    """
    items: list[Item] = []
    for given in inputs:
        path = Path(given).expanduser()
        if path.is_dir() and not (path / KALDI).is_file():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            audio = [file for file in files if file.suffix.lower() in EXTENSIONS]
            counts.ignored += len(files) - len(audio)
            items += [Item(str(file), Utterance(audio=file, text=None)) for file in audio]
        elif is_table(path) or path.is_dir():
            with counts.parts(on_invalid) as invalid:
                rows = read_manifest(path, invalid, need_text=False, columns=columns)
            items += [Item(str(row.audio), row) for row in rows]
        elif path.exists():
            items.append(Item(given, Utterance(audio=path, text=None)))
        else:
            raise UserError(f"{given} does not exist; give recordings, folders or manifests")
    if not items:
        raise UserError(
            f"no recordings in {', '.join(inputs)}; known extensions: {', '.join(EXTENSIONS)}"
        )
    return items


def read_item(
    item: Item, model: SpeechModel | AudioClassifier, *, channel: int | None = None
) -> Tensor | InputError:
    """Returns the samples of a recording at the rate of the model, or why there are none.

    Args:
        item: The recording.
        model: What it is for.
        channel: Which channel is heard, from 0, where a manifest does not say; all of them if None.
    """
    row = item.row
    name = f"{row.where}: {item.shown}" if row.where else item.shown
    rate = model.front_end.sample_rate
    try:
        waveform = read_audio(
            row.audio,
            sample_rate=rate,
            start=row.start,
            duration=row.duration,
            channel=row.channel if row.channel is not None else channel,
            name=name,
        )
    except InputError as error:
        return error
    if model.tokens_of(len(waveform)) < 1:
        return AudioError(name, f"{len(waveform) / rate:.3f} s are too short for the model")
    return waveform
