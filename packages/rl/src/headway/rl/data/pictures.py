"""Pictures and films of cameras that stay in their files until they are wanted."""

import bisect
import functools
import importlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import InputError, UserError, one_line

# Row groups of pictures, still packed, that a process holds.
KEPT = 8


class PictureColumn:
    """Pictures in a table of parquet, as Hugging Face datasets store them: packed, or the name of a file.

    Args:
        path: The table.
        name: Of the column.
        groups: First row of each row group of the table.
        shape: Rows, height, width and 3.
        first: Row of the table where it begins.
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self, path: Path, name: str, *, groups: tuple[int, ...], shape: tuple[int, ...], first: int
    ) -> None:
        self.path, self.name, self.groups = path, name, groups
        self.shape, self.first = shape, first

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Reads some pictures.

        Raises:
            InputError: If one cannot be read, or has another size.
        """
        start, stop, _ = rows.indices(self.shape[0])
        found = [self._read(self.first + row) for row in range(start, stop)]
        return np.stack(found) if found else np.zeros((0, *self.shape[1:]), np.uint8)

    def _read(self, row: int) -> NDArray[Any]:
        where = f"{self.path}, {self.name} in row {row}"
        number = bisect.bisect_right(self.groups, row) - 1
        try:
            group = _group(str(self.path), self.name, number, os.getpid())
            stored: Any = group[row - self.groups[number]].as_py()
            # Some write the bytes themselves.
            stored = stored if isinstance(stored, dict) else {"bytes": stored}
            packed = stored.get("bytes")
            if packed is None:
                packed = self._beside(str(stored.get("path"))).read_bytes()
            picture = np.asarray(_pillow().open(io.BytesIO(packed)).convert("RGB"))
        except UserError:
            raise
        except Exception as error:
            # Of damaged tables and pictures pyarrow and Pillow raise errors of many kinds.
            reason = f"{type(error).__name__}: {one_line(error)[:120]}"
            raise InputError(where, f"the picture cannot be read ({reason})") from None
        return fitting(where, picture[None], self.shape[1:])[0]

    def _beside(self, name: str) -> Path:
        """Returns the file of a picture, below the folder of the data set."""
        folder = next(one for one in self.path.parents if (one / "meta").is_dir()).resolve()
        file = (folder / name).resolve()
        if not file.is_relative_to(folder):
            raise ValueError(f"{name} lies outside {folder}")
        return file


class FilmColumn:
    """Frames of a film.

    Args:
        path: The film.
        times: When each frame is shown, in seconds from the beginning of the film, (T,).
        shape: Rows, height, width and 3.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, path: Path, times: NDArray[np.floating], *, shape: tuple[int, ...]) -> None:
        self.path, self.times, self.shape = path, times, shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Reads some frames.

        Raises:
            InputError: If they cannot be read, or have another size.
        """
        times = self.times[rows]
        if not len(times):
            return np.zeros((0, *self.shape[1:]), np.uint8)
        try:
            frames = _frames(self.path, times)
        except UserError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {one_line(error)[:120]}"
            raise InputError(str(self.path), f"the film cannot be read ({reason})") from None
        return fitting(str(self.path), frames, self.shape[1:])


def fitting(where: str, pictures: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Returns pictures (N, *shape).

    Raises:
        InputError: If they have another shape.
    """
    if pictures.shape[1:] != shape:
        found, wanted = ("x".join(map(str, one)) for one in (pictures.shape[1:], shape))
        raise InputError(where, f"the picture has {found} numbers, info.json says {wanted}")
    return pictures


def film_reader() -> Any:
    """Returns PyAV.

    Raises:
        UserError: If it is not there.
    """
    try:
        return importlib.import_module("av")
    except ImportError:
        raise UserError("films of cameras need PyAV: pip install av") from None


def _frames(path: Path, times: NDArray[np.floating]) -> NDArray[Any]:
    """Returns the frames that are nearest to some times, (N, height, width, 3)."""
    with film_reader().open(str(path)) as film:
        stream = film.streams.video[0]
        # From the last complete picture before the first time on.
        film.seek(int(times.min() / stream.time_base), stream=stream, backward=True)
        shown: list[float] = []
        frames: list[NDArray[Any]] = []
        for frame in film.decode(stream):
            shown.append(float(frame.time))
            frames.append(frame.to_ndarray(format="rgb24"))
            if frame.time > times.max():
                break
    nearest = np.abs(np.array(shown)[None] - times[:, None]).argmin(axis=1)
    return np.stack([frames[place] for place in nearest])


@functools.lru_cache(maxsize=KEPT)
def _group(path: str, name: str, number: int, process: int) -> Any:
    """Returns a column of a row group; each process reads its own."""
    from pyarrow import parquet

    return parquet.ParquetFile(path).read_row_group(number, columns=[name]).column(0)


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise UserError("pictures of LeRobot need Pillow: pip install pillow") from None
    return Image
