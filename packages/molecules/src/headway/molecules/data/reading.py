"""Tables of molecules: ``.smi`` and ``.txt`` by lines, ``.csv`` by column, gzipped or not."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from headway.core.errors import UserError
from headway.core.reading import check_file, read_lines, read_table

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
    """Returns the molecules of a file, in order; empty lines are left out.

    Args:
        path: ``.csv`` with a header, or lines whose first word is a SMILES; ``.gz`` of either.
        column: Column of a table; the one called smiles (in any case) if None.

    Raises:
        UserError: If the file is missing or of another kind, or the column is not there.
    """
    check_file(path)
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if kind not in (".csv", ".smi", ".txt"):
        raise UserError(
            f"{path} is no table of molecules; known: .smi, .txt, .csv, and .gz of them"
        )
    return _table(path, column) if kind == ".csv" else _lines(path)


def _lines(path: Path) -> Iterator[Row]:
    for number, line in read_lines(path):
        if words := line.split(maxsplit=1):
            yield Row(number, words[0])


def _table(path: Path, column: str | None) -> Iterator[Row]:
    name = None
    for number, row in read_table(path):
        if name is None:
            name = _column(list(row), path, column)
        if cell := row.get(name, "").strip():
            yield Row(number, cell)


def _column(header: list[str], path: Path, column: str | None) -> str:
    lower = {name.lower(): name for name in header}
    found = [column] if column in header else [lower[name] for name in NAMES if name in lower]
    if not found or (column is not None and column not in header):
        wanted = f"column {column!r}" if column else "column called smiles"
        raise UserError(f"{path} has no {wanted}; its columns are {', '.join(header)}")
    return found[0]
