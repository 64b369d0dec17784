"""Parquet: tables in columns, by pyarrow."""

from collections.abc import Iterator
from pathlib import Path

from headway.core.errors import InputError, UserError, one_line
from headway.molecules.data.readers.columns import find_columns, record
from headway.molecules.data.records import Record


def read_parquet(path: Path, column: str | None, id_column: str | None) -> Iterator[Record]:
    """Yields the molecules of a parquet file; row 1 is the first molecule."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError("parquet files need a package: pip install pyarrow") from None
    try:
        with parquet.ParquetFile(path) as file:
            names = list(file.schema_arrow.names)
            columns = find_columns(names, path, column, id_column)
            number = 0
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    cells = {name: "" if cell is None else str(cell) for name, cell in row.items()}
                    found = record(number, cells, columns)
                    if found is not None:
                        yield found
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(str(path), f"cannot be read ({one_line(error)[:200]})") from None
