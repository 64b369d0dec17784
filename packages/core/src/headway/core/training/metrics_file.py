"""``metrics.csv``: one row for each epoch or validation, whole at any moment."""

import csv
from collections.abc import Mapping
from pathlib import Path

from headway.core.errors import InputError
from headway.core.files import atomic_write
from headway.core.reading import read_table

Row = dict[str, str]


class MetricsFile:
    """Rows of numbers; a column that appears late is empty before.

    The file is written anew for every row: it stays small, and a reader never sees half a row.

    Args:
        path: The file.

    Raises:
        InputError: If there is such a file and it holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = _read(path)

    def add(self, row: Mapping[str, float]) -> None:
        """Appends a row."""
        self.rows.append({key: _text(value) for key, value in row.items()})
        self._write()

    def cut(self, *, epoch: int, step: int) -> None:
        """Forgets what was written after the moment that a run is continued from.

        Args:
            epoch: The epoch that runs next, or goes on.
            step: Optimiser steps that are done.
        """
        kept = [
            row
            for row in self.rows
            if int(row["step"]) < step or (int(row["step"]) == step and int(row["epoch"]) < epoch)
        ]
        if len(kept) != len(self.rows):
            self.rows = kept
            self._write()

    def _write(self) -> None:
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        with atomic_write(self.path, "w") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)


def read_metrics(path: Path) -> dict[str, list[float | None]]:
    """Returns the columns of a metrics file; None where a row has no value.

    Args:
        path: The file.
    """
    rows = _read(path)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return {name: [float(row[name]) if row.get(name) else None for row in rows] for name in columns}


def _read(path: Path) -> list[Row]:
    if not path.exists():
        return []
    rows = []
    for line, cells in read_table(path, "file of metrics", delimiter=","):
        row = {key: value for key, value in cells.items() if value}
        try:
            _ = [float(value) for value in row.values()], int(row["step"]), int(row["epoch"])
        except (KeyError, ValueError):
            raise InputError(
                f"{path}:{line}", "is no row of metrics with epoch and step; remove the file"
            ) from None
        rows.append(row)
    return rows


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.8g}"
