"""Files of transcripts: tables, JSON and subtitles."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from headway.core.errors import UserError
from headway.core.files import write_csv
from headway.speech.hypothesis import Hypothesis
from headway.speech.verbs.subtitles import as_json, srt, vtt

COLUMNS = ["file", "start", "duration", "text", "confidence", "reference", "error"]
TABLES, SUBTITLES = (".csv", ".jsonl", ".json"), {".srt": srt, ".vtt": vtt}

Transcript = tuple[dict[str, Any], Hypothesis | None]
"""A row of the table, and what was heard; None where a recording could not be read."""


def check_ending(path: Path | None) -> str:
    """Returns the kind of a file by its ending; a table where there is none.

    Raises:
        UserError: If it is of no known kind.
    """
    ending = ".csv" if path is None else path.suffix
    if ending not in (*TABLES, *SUBTITLES):
        known = ", ".join((*TABLES, *SUBTITLES))
        raise UserError(f"{path} is of no kind that is written; name the result by one of {known}")
    return ending


def check_number(ending: str, count: int) -> None:
    """Raises if a kind of file takes one recording and there are more.

    Raises:
        UserError: If it does.
    """
    if ending in SUBTITLES and count != 1:
        raise UserError(
            f"{ending} takes one recording and there are {count}; give one, or write .json or .csv"
        )


def write_transcripts(
    file: IO[str], ending: str, rows: Iterable[Transcript], figures: Sequence[str] = ()
) -> None:
    """Writes transcripts as their file is called.

    Args:
        file: The file.
        ending: Of ``check_ending``.
        rows: The transcripts.
        figures: Columns that they have besides.
    """
    if ending == ".csv":
        write_csv(file, [*COLUMNS, *figures], (row for row, _ in rows))
        return
    if ending == ".jsonl":
        for row, _ in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        return
    if ending == ".json":
        whole = [{**row, **({} if heard is None else as_json(heard))} for row, heard in rows]
        json.dump(whole, file, ensure_ascii=False, indent=1)
        file.write("\n")
        return
    for _, heard in rows:
        file.writelines(SUBTITLES[ending](() if heard is None else heard.segments))
