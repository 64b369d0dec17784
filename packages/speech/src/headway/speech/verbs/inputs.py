"""Recordings that a verb is given: found in folders and manifests, and read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from headway.core.cli.counts import Counts, Policy
from headway.core.errors import InputError, UserError
from headway.speech.data.audio import EXTENSIONS, AudioError, read_audio
from headway.speech.data.manifest import Utterance, read_manifest
from headway.speech.data.manifest_rows import KALDI, SUFFIXES


@dataclass(frozen=True)
class Item:
    """One recording.

    Args:
        shown: Its path for people.
        row: Where it lies, and what is known of it.
    """

    shown: str
    row: Utterance


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
        elif path.suffix in SUFFIXES or path.is_dir():
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
    item: Item, rate: int, steps: Callable[[int], int], *, channel: int | None = None
) -> Tensor | InputError:
    """Returns the samples of a recording at the rate of a model, or why there are none.

    Args:
        item: The recording.
        rate: Samples per second that the model hears.
        steps: How many steps so many samples give the model.
        channel: Which channel is heard, from 0, where a manifest does not say; all of them if None.
    """
    row = item.row
    name = f"{row.where}: {item.shown}" if row.where else item.shown
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
    if steps(len(waveform)) < 1:
        return AudioError(name, f"{len(waveform) / rate:.3f} s are too short for the model")
    return waveform
