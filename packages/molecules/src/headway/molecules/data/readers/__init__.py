"""Files of molecules: lines, tables, SDF and parquet, packed or not."""

from collections.abc import Iterator
from pathlib import Path

from headway.core.errors import UserError
from headway.core.reading import check_file
from headway.molecules.data.readers.lines import read_smi
from headway.molecules.data.readers.parquet import read_parquet
from headway.molecules.data.readers.sdf import read_sdf
from headway.molecules.data.readers.tables import read_cells
from headway.molecules.data.records import Record

_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")


def read_records(
    path: Path, column: str | None = None, *, id_column: str | None = None
) -> Iterator[Record]:
    """Returns the molecules of a file, in order; empty lines are left out.

    Args:
        path: ``.smi`` or ``.txt`` (a SMILES and a name in each line), ``.csv`` or ``.tsv`` with or without a
            header (any delimiter), ``.sdf``, ``.parquet``; all but the last packed (``.gz`` ...) or not.
        column: Column of a table, or its number from 1 where there is no header; the one called smiles (in
            any case), or the first with a molecule in it, if None.
        id_column: Column of the names; the one called id or name if None.

    Raises:
        UserError: If the file is missing, damaged or of another kind, or a column is not there.
    """
    check_file(path)
    kind = (path.with_suffix("") if path.suffix.lower() in _PACKED else path).suffix.lower()
    if kind in (".csv", ".tsv", ".tab"):
        return read_cells(path, column, id_column)
    if kind in (".parquet", ".pq"):
        return read_parquet(path, column, id_column)
    if column is not None or id_column is not None:
        raise UserError(f"{path} has no columns; leave out column and id_column")
    if kind in (".smi", ".smiles", ".txt"):
        return read_smi(path)
    if kind in (".sdf", ".sd"):
        return read_sdf(path)
    raise UserError(
        f"{path} is no table of molecules; known: .smi, .txt, .csv, .tsv, .sdf, packed or not, and .parquet"
    )


__all__ = ["read_records"]
