"""The rows of a manifest as they stand in a file, whatever the format: line number and cells by column."""

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from headway.core.errors import InputError, UserError
from headway.core.reading import parse_json, read_json, read_lines, read_table
from headway.speech.data.lhotse import LhotseRows, is_lhotse

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".jsonl.gz")
KALDI = "wav.scp"
# What a column is called, and what it is: NeMo, Hugging Face, Common Voice and others.
NAMES = {
    "audio": "audio",
    "audio_filepath": "audio",
    "audio_path": "audio",
    "file_name": "audio",
    "filename": "audio",
    "file": "audio",
    "wav": "audio",
    "path": "audio",
    "text": "text",
    "sentence": "text",
    "transcript": "text",
    "transcription": "text",
    "normalized_text": "text",
    "start": "start",
    "offset": "start",
    "duration": "duration",
    "speaker": "speaker",
    "speaker_id": "speaker",
    "client_id": "speaker",
    "channel": "channel",
    "language": "language",
    "locale": "language",
}

Rows = Iterator[tuple[str, Any]]


def read_rows(path: Path) -> Rows:
    """Yields place (file and line) and contents of each row.

    JSON lines and a JSON list of objects, tables with a header and any delimiter, LJSpeech's ``metadata.csv``
    (no header, cells split by ``|``, recordings in ``wavs``), folders of Kaldi (``wav.scp``, ``text``,
    perhaps ``segments`` and ``utt2spk``), and JSON lines of Lhotse: cuts, or supervisions beside recordings.

    Args:
        path: The file, or the folder of Kaldi.

    Raises:
        UserError: If it is missing, of another kind, or cannot be read.
    """
    if (path / KALDI).is_file():
        return _kaldi(path)
    if not is_table(path):
        raise UserError(
            f"{path} is no manifest; give one of {', '.join(SUFFIXES)}, or a folder with {KALDI}"
        )
    if path.name.endswith((".jsonl", ".json", ".jsonl.gz")):
        return _json(path)
    lines = read_lines(path, "manifest")
    _, first = next(lines, (1, ""))
    if "|" in first and (path.parent / "wavs").is_dir() and not _is_header(first):
        return _ljspeech(path, chain([(1, first)], lines))
    return ((f"{path}:{number}", _filled(row)) for number, row in read_table(path, "manifest"))


def is_table(path: Path) -> bool:
    """Returns whether a file is a manifest by its name."""
    return path.name.endswith(SUFFIXES)


def _filled(row: Mapping[str, str]) -> dict[str, str]:
    return {name: cell for name, cell in row.items() if cell != ""}


def _json(path: Path) -> Rows:
    number, first = next(
        ((n, line) for n, line in read_lines(path, "manifest") if line.strip()), (1, "")
    )
    if first.lstrip().startswith("[") and path.suffix == ".json":
        content = read_json(path, "manifest", expected=list)
        yield from ((f"{path}, entry {place}", row) for place, row in enumerate(content))
        return
    lhotse = LhotseRows(path)
    for number, line in read_lines(path, "manifest"):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = parse_json(line, where)
        except InputError as error:
            yield where, error
            continue
        if is_lhotse(row):
            yield from ((where, one) for one in lhotse.rows(row, where))
        else:
            yield where, row


def _is_header(line: str) -> bool:
    return any(cell.strip().lower() in NAMES for cell in line.split("|"))


def _ljspeech(path: Path, lines: Iterator[tuple[int, str]]) -> Rows:
    for number, line in lines:
        if not line.strip():
            continue
        where, cells = f"{path}:{number}", line.split("|")
        if len(cells) not in (2, 3):
            yield where, InputError(where, f"has {len(cells)} cells; id|text or id|text|normalised")
            continue
        yield where, {"audio": f"wavs/{cells[0]}.wav", "text": cells[-1].strip() or cells[1]}


def _kaldi(folder: Path) -> Rows:
    recordings = _pairs(folder / KALDI)
    texts = _pairs(folder / "text") if (folder / "text").is_file() else {}
    speakers = _pairs(folder / "utt2spk") if (folder / "utt2spk").is_file() else {}
    segments = _pairs(folder / "segments") if (folder / "segments").is_file() else None
    for name, (where, cell) in (recordings if segments is None else segments).items():
        row: dict[str, Any] = {}
        if segments is not None:
            words = cell.split()
            try:
                recording, start, end = words[0], float(words[1]), float(words[2])
            except (IndexError, ValueError):
                yield where, InputError(where, "is no segment: utterance, recording, start, end")
                continue
            row |= {"start": start, "duration": end - start}
        else:
            recording = name
        _, audio = recordings.get(recording, (where, ""))
        if not audio or audio.rstrip().endswith("|"):
            reason = (
                f"{KALDI} has a command for {recording}, which is never run; give it a file"
                if audio
                else f"{KALDI} has no recording {recording}"
            )
            yield where, InputError(where, reason)
            continue
        row["audio"] = audio.strip()
        for key, table in (("text", texts), ("speaker", speakers)):
            if name in table:
                row[key] = table[name][1].strip()
        yield where, row


def _pairs(path: Path) -> dict[str, tuple[str, str]]:
    """Returns place and rest of each line of a Kaldi file by its first word."""
    found: dict[str, tuple[str, str]] = {}
    for number, line in read_lines(path, "Kaldi file"):
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            found[name] = (f"{path}:{number}", rest.strip())
    return found
