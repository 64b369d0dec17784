"""Which columns of a table hold molecules and their names."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from headway.core.errors import UserError
from headway.molecules.data.records import Record

SMILES = ("smiles", "canonical_smiles", "mol", "molecule")
NAMES = ("id", "name", "mol_id", "compound_id")


def find_columns(
    header: Sequence[str], path: Path, column: str | None, id_column: str | None
) -> tuple[str, str | None]:
    """Returns the column of SMILES and that of names; None where there is no such.

    Raises:
        UserError: If a column that was asked for, or any of SMILES, is not there.
    """
    found = _named(header, SMILES) if column is None else column
    if found is None or found not in header:
        wanted = f"column {column!r}" if column else "column called smiles"
        raise UserError(f"{path} has no {wanted}; its columns are {', '.join(header)}")
    if id_column is not None and id_column not in header:
        raise UserError(f"{path} has no column {id_column!r}; its columns are {', '.join(header)}")
    return found, id_column or _named(header, NAMES)


def is_header(cells: Iterable[str], column: str | None) -> bool:
    """Whether the first row of a table names its columns, by the names that it would be read by."""
    cells = list(cells)
    return column in cells if column is not None else _named(cells, SMILES) is not None


def record(row: int, cells: Mapping[str, str], columns: tuple[str, str | None]) -> Record | None:
    """Returns what a row says; None if it has no SMILES."""
    smiles, name = cells.get(columns[0], "").strip(), columns[1]
    if not smiles:
        return None
    rest = {key: value for key, value in cells.items() if key not in columns}
    return Record(
        row=row, smiles=smiles, id=cells.get(name, "").strip() if name else "", properties=rest
    )


def _named(header: Iterable[str], names: Sequence[str]) -> str | None:
    lower = {name.strip().lower(): name for name in reversed(list(header))}
    return next((lower[name] for name in names if name in lower), None)
