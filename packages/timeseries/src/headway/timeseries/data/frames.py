"""Frames from files and to files: CSV and parquet, by extension."""

import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from headway.core.errors import InputError, UserError
from headway.core.files import atomic_write
from headway.core.packed import MAX_RATIO, MAX_UNPACKED, open_packed
from headway.core.reading import check_file

PARQUET = (".parquet", ".pq")
PIECE = 1 << 20  # bytes that are looked through at once


def read_frame(path: str | Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Reads a CSV or parquet file.

    A CSV is UTF-8 text, with a byte order mark or without, packed or not (``open_packed``); its fields are
    separated by commas, semicolons (numbers then may have a comma), tabs or bars, as its first line shows.

    Args:
        path: The file.
        columns: Which columns to read; all if None.

    Raises:
        InputError: If it cannot be read.
    """
    name = str(path)
    parquet = Path(path).suffix in PARQUET
    kind = "parquet" if parquet else "CSV"
    check_file(path, "CSV or parquet file")
    try:
        frame = _read_parquet(path, columns) if parquet else _read_csv(path, columns)
    except PermissionError:
        raise InputError(name, "may not be read by this user") from None
    except UnicodeDecodeError as error:
        byte = error.object[error.start] if error.start < len(error.object) else 0
        raise InputError(
            name,
            f"is no UTF-8 text (byte 0x{byte:02x}); save it as UTF-8, or convert it with iconv",
        ) from None
    except UserError:
        raise
    except Exception as error:
        # Damaged files raise whatever their parsers stumble on.
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(name, f"is no {kind} file: {said}") from None
    if frame.columns.duplicated().any():
        twice = frame.columns[frame.columns.duplicated()][0]
        raise InputError(name, f"has two columns {twice!r}")
    return frame


def _read_csv(path: str | Path, columns: list[str] | None) -> pd.DataFrame:
    """Reads text, packed or not; a CSV by its first line."""
    path = Path(path)
    options: dict[str, Any] = {"encoding": "utf-8-sig"}
    with open_packed(path) as file:
        start = file.read(PIECE)
        if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
            options["encoding"] = "utf-16"
            start = start.decode("utf-16", errors="ignore").encode()
        else:
            piece = start
            while piece:
                if b"\0" in piece:
                    raise InputError(str(path), "is no text: it holds NUL bytes")
                piece = file.read(PIECE)
    options |= _form(start.decode("utf-8-sig", errors="ignore"))
    with open_packed(path) as file, warnings.catch_warnings():
        # Columns of several kinds are looked at value by value later.
        warnings.simplefilter("ignore", pd.errors.DtypeWarning)
        frame = pd.read_csv(file, usecols=columns, **options)
    if not isinstance(frame.index, pd.RangeIndex):
        raise InputError(str(path), "has rows with more fields than the header names")
    return frame


def _form(text: str) -> dict[str, str]:
    """Returns how fields are separated, and what the decimal sign is, from the first lines."""
    header, _, rest = text.partition("\n")
    counts = {sign: header.count(sign) for sign in ",;\t|"}
    sign = max(counts, key=lambda one: counts[one])
    if sign == "," or not counts[sign]:
        return {}
    line = rest.partition("\n")[0]
    comma = sign == ";" and "," in line and "." not in line.partition(";")[2]
    return {"sep": sign, "decimal": "," if comma else "."}


def _read_parquet(path: str | Path, columns: list[str] | None) -> Any:
    """Reads words as categories, and column by column: a panel repeats a name at every step."""
    need_pyarrow()
    import pyarrow
    import pyarrow.parquet

    types, told = pyarrow.parquet.read_schema(path), pyarrow.parquet.read_metadata(path)
    size = 8 * told.num_rows * (len(columns) if columns is not None else told.num_columns)
    if size > (limit := max(MAX_RATIO * Path(path).stat().st_size, MAX_UNPACKED)):
        raise InputError(
            str(path),
            f"has {told.num_rows:,} rows and unpacks to over {limit:,} bytes ({MAX_RATIO} times its size); "
            "write fewer of them into a file",
        )
    for field in types:
        if pyarrow.types.is_nested(field.type) and (columns is None or field.name in columns):
            raise InputError(
                str(path),
                f"column {field.name!r} holds {field.type}, no numbers or words; leave it out",
            )
    words = [
        field.name for field in types if field.type in (pyarrow.string(), pyarrow.large_string())
    ]
    table = pyarrow.parquet.read_table(path, columns=columns, read_dictionary=words)
    # Every column leaves the table when it has become one of the frame.
    frame = table.to_pandas(split_blocks=True, self_destruct=True)
    # A column of stamps that was the index of the frame.
    return frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()


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
