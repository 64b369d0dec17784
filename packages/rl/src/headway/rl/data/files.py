"""Columns that stay in an HDF5 file until they are wanted."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import InputError, one_line
from headway.rl.data.trajectory import check_finite

# Open files of this process, by path; a worker that was forked opens its own.
_OPEN: dict[tuple[int, str], Any] = {}


class FileColumn:
    """Rows of a data set in an HDF5 file, read in slices.

    Args:
        path: The file.
        key: Name of the data set in it.
        shape: Rows and the shape of one.
        dtype: Type of the numbers.
        first: Row where it begins.
    """

    def __init__(
        self,
        path: Path,
        key: str,
        *,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        first: int = 0,
    ) -> None:
        self.path, self.key, self.first = path, key, first
        self.shape, self.dtype = shape, dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Reads some rows.

        Raises:
            InputError: If the file cannot be read any more, or they hold NaN.
        """
        start, stop, _ = rows.indices(self.shape[0])
        try:
            values = _file(self.path)[self.key][self.first + start : self.first + stop]
        except Exception as error:
            # Of a damaged or vanished file h5py raises anything.
            raise InputError(
                str(self.path), f"{self.key} cannot be read ({one_line(error)[:200]})"
            ) from None
        check_finite(f"{self.path}, {self.key} from row {self.first + start}", "rows", values)
        return values


def _file(path: Path) -> Any:
    import h5py

    key = (os.getpid(), str(path))
    if key not in _OPEN:
        _OPEN[key] = h5py.File(path, "r")
    return _OPEN[key]
