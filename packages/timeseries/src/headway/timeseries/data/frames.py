"""Frames from files and to files: CSV and parquet, by extension."""

from pathlib import Path
from typing import Any

import pandas as pd

from headway.core.errors import InputError, UserError
from headway.core.files import atomic_write

PARQUET = (".parquet", ".pq")


def read_frame(path: str | Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Reads a CSV or parquet file.

    Args:
        path: The file.
        columns: Which columns to read; all if None.

    Raises:
        InputError: If it cannot be read.
    """
    name = str(path)
    parquet = Path(path).suffix in PARQUET
    try:
        if parquet:
            frame = _read_parquet(path, columns)
            # A column of stamps that was the index of the frame.
            return frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()
        return pd.read_csv(path, usecols=columns)
    except FileNotFoundError:
        raise InputError(name, "there is no such file") from None
    except IsADirectoryError:
        raise InputError(name, "is a folder, expected a CSV or parquet file") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(name, f"is no CSV file: {str(error).strip()}") from None
    except (OSError, ValueError) as error:
        kind = "parquet" if parquet else "CSV"
        raise InputError(name, f"is no {kind} file: {str(error).strip().splitlines()[0]}") from None


def _read_parquet(path: str | Path, columns: list[str] | None) -> Any:
    """Reads words as categories, and column by column: a panel repeats a name at every step."""
    need_pyarrow()
    import pyarrow
    import pyarrow.parquet

    types = pyarrow.parquet.read_schema(path)
    words = [
        field.name for field in types if field.type in (pyarrow.string(), pyarrow.large_string())
    ]
    table = pyarrow.parquet.read_table(path, columns=columns, read_dictionary=words)
    # Every column leaves the table when it has become one of the frame.
    return table.to_pandas(split_blocks=True, self_destruct=True)


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Writes a CSV or parquet file, whole or not at all."""
    if path.suffix in PARQUET:
        need_pyarrow()
        with atomic_write(path) as file:
            file.write(frame.to_parquet(index=False))
        return
    with atomic_write(path, "w") as file:
        frame.to_csv(file, index=False, lineterminator="\n")


def need_pyarrow() -> None:
    """Raises if parquet cannot be read here."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise UserError(
            'parquet needs pyarrow; pip install "headway[timeseries]", or use CSV'
        ) from None
