"""Tables of molecules: ``.smi`` and ``.txt`` by lines, ``.csv`` by column, gzipped or not."""

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from headway.core.errors import UserError

NAMES = ("smiles", "canonical_smiles", "mol", "molecule")


class Row(NamedTuple):
    """A molecule of a file.

    Args:
        number: Line in the file, from 1, the header included.
        smiles: Its SMILES, unchecked.
    """

    number: int
    smiles: str


def read_smiles(path: Path, column: str | None = None) -> Iterator[Row]:
    """Yields the molecules of a file, in order; empty lines are left out.

    Args:
        path: ``.csv`` with a header, or lines whose first word is a SMILES; ``.gz`` of either.
        column: Column of a table; the one called smiles (in any case) if None.

    Raises:
        UserError: If the file is missing or of another kind, or the column is not there.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if kind not in (".csv", ".smi", ".txt"):
        raise UserError(
            f"{path} is no table of molecules; known: .smi, .txt, .csv, and .gz of them"
        )
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8", newline="") as file:
            yield from _table(file, path, column) if kind == ".csv" else _lines(file)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def _lines(file: IO[str]) -> Iterator[Row]:
    for number, line in enumerate(file, start=1):
        if words := line.split(maxsplit=1):
            yield Row(number, words[0])


def _table(file: IO[str], path: Path, column: str | None) -> Iterator[Row]:
    rows = csv.reader(file)
    header = next(rows, [])
    if column is not None:
        places = [place for place, name in enumerate(header) if name == column]
    else:
        lower = [name.strip().lower() for name in header]
        places = [lower.index(name) for name in NAMES if name in lower]
    if not places:
        wanted = f"column {column!r}" if column else "column called smiles"
        raise UserError(f"{path} has no {wanted}; its columns are {', '.join(header) or 'none'}")
    for row in rows:
        if len(row) > places[0] and row[places[0]].strip():
            yield Row(rows.line_num, row[places[0]].strip())
