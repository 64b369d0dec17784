"""Columns that say which moments are anomalies."""

import numpy as np

from headway.core.errors import InputError, UserError
from headway.timeseries.data.table import SeriesTable


def labels_of(table: SeriesTable, name: str) -> np.ndarray:
    """Returns a column of 0 and 1 as truth values.

    Raises:
        UserError: If there is no such column.
        InputError: If a value is another one; it names the row.
    """
    if name not in table.names:
        raise UserError(
            f"{table.name} has no column {name!r} of labels; it has {', '.join(table.names[:10])}"
        )
    values = table.values[:, table.names.index(name)]
    wrong = ~np.isin(values, (0.0, 1.0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            table.name,
            f"column {name!r} has {values[row]:g} at {table.stamps[row]}; a label is 0 or 1",
        )
    return values == 1.0
