"""Tables of recordings with their texts."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headway.core.errors import InputError, UserError
from headway.core.training.invalid import InvalidItems

SUFFIXES = (".jsonl", ".csv")


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One row of a manifest.

    Args:
        audio: The recording.
        text: What is said in it; None if nobody knows.
        start: Where it begins in the recording, in seconds.
        duration: How long it is, in seconds; to the end if None.
        speaker: Who speaks.
        where: File and row, for messages.
    """

    audio: Path
    text: str | None
    start: float = 0.0
    duration: float | None = None
    speaker: str | None = None
    where: str = ""


def read_manifest(
    path: Path, invalid: InvalidItems | None = None, *, need_text: bool = True
) -> list[Utterance]:
    """Reads a manifest: JSON lines or CSV with ``audio, text`` and perhaps ``start, duration, speaker``.

    Args:
        path: The manifest; relative paths in it start from its folder.
        invalid: What to do with a row that cannot be used; the first one stops if None.
        need_text: Whether a row without text is one of those.

    Raises:
        UserError: If the file is missing, of another kind, or has no rows.
        InputError: If a row cannot be used and ``invalid`` says so.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path} is no manifest; give one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise UserError(f"there is no manifest {path}")
    invalid = invalid if invalid is not None else InvalidItems("raise", "utterances")
    found: list[Utterance] = []
    rows = _json_lines(path) if path.suffix == ".jsonl" else _csv_rows(path)
    for number, row in rows:
        where = f"{path}:{number}"
        try:
            found.append(_utterance(row, path.parent, where, need_text))
        except InputError as error:
            invalid.add(error)
    if not found:
        raise UserError(f"{path} has no rows that can be used")
    return found


def _json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError:
                yield number, None


def _csv_rows(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        for row in reader:
            yield reader.line_num, {key: value for key, value in row.items() if value != ""}


def _utterance(row: Any, folder: Path, where: str, need_text: bool) -> Utterance:
    if not isinstance(row, dict):
        raise InputError(where, "the row is no JSON object")
    if not isinstance(row.get("audio"), str):
        raise InputError(where, "the row has no audio (path of a recording)")
    text = row.get("text")
    if need_text and (not isinstance(text, str) or not text.strip()):
        raise InputError(where, f"{row['audio']} has no text")
    times: dict[str, float] = {}
    for name in ("start", "duration"):
        if row.get(name) is None:
            continue
        try:
            times[name] = float(row[name])
        except (TypeError, ValueError):
            raise InputError(where, f"{name} {row[name]!r} is not a number of seconds") from None
        if not 0 <= times[name] < float("inf") or (name == "duration" and times[name] == 0):
            raise InputError(where, f"{name} {times[name]:g} is no possible number of seconds")
    speaker = row.get("speaker")
    return Utterance(
        audio=folder / row["audio"],  # an absolute path stays as it is
        text=text if isinstance(text, str) else None,
        start=times.get("start", 0.0),
        duration=times.get("duration"),
        speaker=None if speaker is None else str(speaker),
        where=where,
    )
