"""Tables of recordings with their texts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headway.core.errors import InputError, UserError
from headway.core.training.invalid import InvalidItems
from headway.speech.data.manifest_rows import NAMES, read_rows

FIELDS = ("audio", "text", "start", "duration", "speaker", "channel", "language")
IGNORE = "ignore"
# What published tables say besides, and no recogniser here reads.
KNOWN = frozenset(
    """
    id lang age gender accent accents variant segment up_votes down_votes sentence_id
    sentence_domain sample_rate sampling_rate split raw_text
    """.split()  # noqa: SIM905
)
# Where published sets keep their recordings, below the folder of the table.
FOLDERS = ("", "clips", "wavs", "audio")


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One row of a manifest.

    Args:
        audio: The recording.
        text: What is said in it; None if nobody knows.
        start: Where it begins in the recording, in seconds.
        duration: How long it is, in seconds; to the end if None.
        speaker: Who speaks.
        channel: Which channel is heard, from 0; all of them if None.
        language: What is spoken, such as ``en``.
        where: File and row, for messages.
    """

    audio: Path
    text: str | None
    start: float = 0.0
    duration: float | None = None
    speaker: str | None = None
    channel: int | None = None
    language: str | None = None
    where: str = ""


def read_manifest(
    path: Path,
    invalid: InvalidItems | None = None,
    *,
    need_text: bool = True,
    columns: Mapping[str, str] | None = None,
) -> list[Utterance]:
    """Reads a manifest: recordings, their texts and perhaps ``start, duration, speaker, channel, language``.

    The formats are those of ``read_rows``; the columns of NeMo, Hugging Face, Common Voice, LJSpeech and
    Kaldi are known by name. A column that is not known is refused, since a row whose start is not understood
    would be read from another place.

    Args:
        path: The manifest; relative paths in it start from its folder (or ``clips``, ``wavs`` in it).
        invalid: What to do with a row that cannot be used; the first one stops if None.
        need_text: Whether a row without text is one of those.
        columns: What further columns are: name in the file to ``audio``, ``text``, ``start``,
            ``duration``, ``speaker``, ``channel``, ``language`` or ``ignore``.

    Raises:
        UserError: If the file is missing, of another kind, or has no rows.
        InputError: If a row cannot be used and ``invalid`` says so.
    """
    meanings = column_meanings(columns)
    invalid = invalid if invalid is not None else InvalidItems("raise", "utterances")
    folder = path if path.is_dir() else path.parent
    found: list[Utterance] = []
    for where, row in read_rows(path):
        try:
            found.append(_utterance(_fields(row, meanings, where), folder, where, need_text))
        except InputError as error:
            invalid.add(error)
    if not found:
        raise UserError(f"{path} has no rows that can be used")
    return found


def column_meanings(columns: Mapping[str, str] | None) -> dict[str, str]:
    """Returns what each column is; the user's word goes over what is known by name.

    Raises:
        UserError: If a meaning is unknown.
    """
    for name, meaning in (columns or {}).items():
        if meaning not in (*FIELDS, IGNORE):
            raise UserError(
                f"columns: {name!r} cannot be {meaning!r}; a column is {', '.join(FIELDS)} or {IGNORE}"
            )
    # Whoever names a column for a field means that one and none of the usual names.
    taken = set((columns or {}).values())
    usual = {name: field for name, field in NAMES.items() if field not in taken}
    other = {name: IGNORE for name in NAMES if name not in usual}
    return {**dict.fromkeys(KNOWN, IGNORE), **other, **usual, **(columns or {})}


def _fields(row: Any, meanings: Mapping[str, str], where: str) -> dict[str, Any]:
    """Returns the row by field."""
    if isinstance(row, InputError):
        raise row
    if not isinstance(row, dict):
        raise InputError(where, "the row is no JSON object")
    fields: dict[str, Any] = {}
    for name, value in row.items():
        meaning = meanings.get(name)
        if meaning is None:
            known = ", ".join(NAMES)
            raise InputError(
                where,
                f"the column {name!r} is not known ({known}); say what it is with "
                f'--data.columns \'{{"{name}": "{IGNORE}"}}\', or {", ".join(FIELDS)}',
            )
        if meaning == IGNORE or value is None:
            continue
        if meaning in fields:
            raise InputError(where, f"{name!r} is the second column for {meaning}")
        fields[meaning] = value
    return fields


def _utterance(row: dict[str, Any], folder: Path, where: str, need_text: bool) -> Utterance:
    audio = row.get("audio")
    if not isinstance(audio, str) or "\0" in audio:
        raise InputError(where, "the row has no audio (path of a recording)")
    text = row.get("text")
    if need_text and (not isinstance(text, str) or not text.strip()):
        raise InputError(where, f"{audio} has no text")
    times: dict[str, float] = {}
    for name in ("start", "duration"):
        if row.get(name) is None:
            continue
        try:
            times[name] = float(row[name])
        except (TypeError, ValueError, OverflowError):
            raise InputError(where, f"{name} {row[name]!r} is not a number of seconds") from None
        if not 0 <= times[name] < math.inf or (name == "duration" and times[name] == 0):
            raise InputError(where, f"{name} {times[name]:g} is no possible number of seconds")
    speaker = row.get("speaker")
    return Utterance(
        audio=_found(folder, audio),
        text=text if isinstance(text, str) else None,
        start=times.get("start", 0.0),
        duration=times.get("duration"),
        speaker=None if speaker is None else str(speaker),
        channel=_channel(row.get("channel"), where),
        language=str(row["language"]) if row.get("language") else None,
        where=where,
    )


def _channel(value: Any, where: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not str(value).strip().isdecimal():
        raise InputError(where, f"channel {value!r} is no number from 0")
    return int(value)


def _found(folder: Path, audio: str) -> Path:
    """Returns where a recording lies; an absolute path stays as it is."""
    places = [folder / place / audio for place in FOLDERS]
    try:
        return next((place for place in places if place.is_file()), places[0])
    except OSError:  # a name that is too long
        return places[0]
