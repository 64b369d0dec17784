"""Series in files: wide (a column of stamps, a column per series) and long (unique_id, ds, y)."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from headway.core.errors import InputError
from headway.timeseries.data.clock import FIRST_ROW
from headway.timeseries.data.frames import read_frame, write_frame
from headway.timeseries.data.steps import regular

log = logging.getLogger(__name__)
# Names of the three columns of a long file, here and elsewhere.
LONG = (("unique_id", "ds", "y"), ("item_id", "timestamp", "target"))


@dataclass(frozen=True, kw_only=True, eq=False)
class SeriesTable:
    """Series on common, regular stamps.

    Args:
        name: Of the file.
        stamps: Moments, in order.
        step: Frequency of pandas, or an int for stamps that are numbers.
        names: Of the series.
        values: NaN where a value is missing.
        form: Of the file.
        columns: Name of the column of stamps of a wide file; the three names of a long one.

    Shape:
        values: (T, N) float64.
    """

    name: str
    stamps: pd.Index
    step: Any
    names: tuple[str, ...]
    values: NDArray[np.float64]
    form: Literal["wide", "long"]
    columns: tuple[str, ...]


def read_table(path: str | Path, *, freq: str | None = None, usual: Any = None) -> SeriesTable:
    """Reads a CSV or parquet file; the names of its columns tell its form.

    Args:
        path: The file.
        freq: Step of time, such as ``h``, ``B`` or ``MS``; rows that are not there are then missing values.
            Read from the stamps if None.
        usual: A step that is taken if the stamps fit it.

    Raises:
        InputError: If it cannot be read, a value is no number, or time is irregular; it names the row.
    """
    return table_of(read_frame(path), str(path), freq=freq, usual=usual)


def table_of(
    frame: pd.DataFrame, name: str, *, freq: str | None = None, usual: Any = None
) -> SeriesTable:
    """Returns the series of a frame; the names of its columns tell its form.

    Args:
        frame: Wide or long.
        name: For messages.
        freq: Step of time; read from the stamps if None.
        usual: A step that is taken if the stamps fit it.

    Raises:
        InputError: If a value is no number, or time is irregular; it names the row.
    """
    for columns in LONG:
        if set(columns) <= set(frame.columns):
            return _long(frame, columns, name, freq, usual)
    return _wide(frame, name, freq, usual)


def _wide(frame: Any, name: str, freq: str | None, usual: Any) -> SeriesTable:
    if frame.shape[1] < 2:
        raise InputError(
            name,
            f"has the columns {list(frame.columns)}; expected one of stamps and one for each series, "
            f"or {', '.join(LONG[0])}",
        )
    stamps = read_stamps(frame.iloc[:, 0], name)
    values = [read_numbers(frame[column], name) for column in frame.columns[1:]]
    clock, step, places = regular(stamps, name, freq=freq, usual=usual)
    return SeriesTable(
        name=name,
        stamps=clock,
        step=step,
        names=tuple(map(str, frame.columns[1:])),
        values=_spread(np.stack(values, axis=1), places, len(clock), name),
        form="wide",
        columns=(str(frame.columns[0]),),
    )


def _spread(
    values: NDArray[np.float64], places: NDArray[np.int64], rows: int, name: str
) -> NDArray[np.float64]:
    """Returns the rows at their places, NaN where there is none."""
    if len(values) == rows:
        return values
    log.warning(f"{name}: {rows - len(values)} rows that are not there are read as missing values")
    found = np.full((rows, values.shape[1]), np.nan)
    found[places] = values
    return found


def _long(
    frame: Any, columns: tuple[str, str, str], name: str, freq: str | None, usual: Any
) -> SeriesTable:
    identity, time, target = columns
    stamps = pd.Series(read_stamps(frame[time], name))
    tidy = pd.DataFrame(
        {"id": frame[identity].astype(str), "ds": stamps, "y": read_numbers(frame[target], name)}
    )
    repeated = tidy.duplicated(["id", "ds"]).to_numpy()
    if repeated.any():
        place = int(np.argmax(repeated))
        raise InputError(
            name,
            f"row {place + FIRST_ROW}: {tidy.id[place]} has a second value for {tidy.ds[place]}",
        )
    wide = tidy.pivot(index="ds", columns="id", values="y").sort_index()
    wide = wide[list(dict.fromkeys(tidy.id))]  # in the order of the file
    clock, step, places = regular(wide.index.rename(None), name, freq=freq, usual=usual)
    return SeriesTable(
        name=name,
        stamps=clock,
        step=step,
        names=tuple(wide.columns),
        values=_spread(wide.to_numpy(dtype=np.float64), places, len(clock), name),
        form="long",
        columns=columns,
    )


def read_stamps(column: Any, name: str) -> pd.Index:
    """Returns a column of stamps, moments or whole numbers.

    Raises:
        InputError: If one is missing or no stamp, or if they are of several time zones.
    """
    missing = column.isna().to_numpy()
    if missing.any():
        raise InputError(name, f"row {int(np.argmax(missing)) + FIRST_ROW} has no stamp")
    if pd.api.types.is_integer_dtype(column):
        # Differences of larger ones leave the range of numbers.
        if len(column) and max(abs(int(column.min())), abs(int(column.max()))) >= 2**62:
            raise InputError(
                name, f"column {column.name!r} has numbers above 2**62, which are no stamps"
            )
        return pd.Index(column.to_numpy(dtype=np.int64))
    if pd.api.types.is_datetime64_any_dtype(column):
        return pd.DatetimeIndex(column)
    try:
        stamps: Any = pd.to_datetime(column.astype(str), errors="coerce", format="ISO8601")
    except (ValueError, OverflowError):
        # pandas has no type for these; a change to summer time looks like this, too.
        raise InputError(
            name,
            f"column {column.name!r} has stamps of several time zones, or some without one; write all of "
            "them in one zone, such as UTC",
        ) from None
    wrong = stamps.isna().to_numpy()
    if wrong.any():
        place = int(np.argmax(wrong))
        raise InputError(
            name,
            f"row {place + FIRST_ROW}: {column.iloc[place]!r} in column {column.name!r} is no stamp; "
            "write 2024-01-31 or 2024-01-31 13:00:00",
        )
    return pd.DatetimeIndex(stamps)


def read_numbers(column: Any, name: str) -> NDArray[np.float64]:
    """Returns a column of numbers, NaN where a value is missing.

    Raises:
        InputError: If a value is no number.
    """
    if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_complex_dtype(column):
        raise InputError(name, f"column {column.name!r} holds {column.dtype}, which are no numbers")
    try:
        numbers: Any = pd.to_numeric(column, errors="coerce")
        values = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            name, f"column {column.name!r} holds {column.dtype}, which are no numbers"
        ) from None
    wrong = (numbers.isna() & column.notna()).to_numpy() | np.isinf(values)
    if wrong.any():
        place = int(np.argmax(wrong))
        raise InputError(
            name,
            f"row {place + FIRST_ROW}: '{column.iloc[place]}' in column {column.name!r} is no number; "
            "leave the field empty where a value is missing",
        )
    return values


def write_table(
    path: Path,
    table: SeriesTable,
    stamps: pd.Index,
    values: NDArray[np.float64],
    others: Mapping[str, NDArray[np.float64]] | None = None,
) -> None:
    """Writes values at further stamps in the form of ``table``, the file whole or not at all.

    Args:
        path: CSV, or parquet by its extension.
        table: What the values continue.
        stamps: Of the values.
        values: Forecasts.
        others: Further columns by what is appended to their names, such as ``-lo-80``.

    Shape:
        values, others: (H, N); a column of NaN is left out of a long file.
    """
    others = dict(others or {})
    if table.form == "wide":
        columns: dict[str, Any] = {table.columns[0]: stamps}
        for place, series in enumerate(table.names):
            columns[series] = values[:, place]
            columns |= {series + name: other[:, place] for name, other in others.items()}
        frame = pd.DataFrame(columns)
    else:
        identity, time, target = table.columns
        known = np.atleast_1d(~np.isnan(values).all(axis=0))
        names = [name for name, there in zip(table.names, known, strict=True) if there]
        columns = {
            identity: np.repeat(names, len(stamps)),
            time: np.tile(stamps.to_numpy(), len(names)),
            target: values[:, known].T.ravel(),
        }
        columns |= {target + name: other[:, known].T.ravel() for name, other in others.items()}
        frame = pd.DataFrame(columns)
    write_frame(frame, path)
