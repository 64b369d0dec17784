"""Tables of LeRobot's data sets: columns of steps, and where the films of episodes lie."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import InputError, UserError, one_line
from headway.core.reading import check_file, read_json

# Where films lie if info.json does not say.
FILMS = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"


class Films:
    """Knows which film shows an episode, and from when on.

    Args:
        folder: Of the data set.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, camera: str, episode: int) -> tuple[Path, float]:
        """Returns the film of a camera, and the second of it where an episode begins.

        Args:
            camera: The feature.
            episode: Number of the episode.

        Raises:
            InputError: If the data set does not say it, or there is no such film.
        """
        info = self._info
        pattern = str(info.get("video_path") or FILMS)
        fields: dict[str, Any] = {"video_key": camera}
        begin = 0.0
        if "file_index" in pattern:
            shards = self._shards(camera)
            if episode not in shards:
                raise InputError(str(self.folder), f"meta/episodes knows no episode {episode}")
            fields["chunk_index"], fields["file_index"], begin = shards[episode]
        else:
            size = info.get("chunks_size") or 1000
            fields |= {"episode_index": episode, "episode_chunk": episode // int(size)}
        try:
            file = (self.folder / pattern.format(**fields)).resolve()
        except (KeyError, ValueError, IndexError, AttributeError):
            raise InputError(
                str(self.folder), f"info.json says that films lie at {pattern!r:.80}"
            ) from None
        if not file.is_relative_to(self.folder.resolve()):
            raise InputError(str(self.folder), f"the film {file} lies outside the data set")
        return check_file(file, "film"), begin

    @cached_property
    def _info(self) -> dict[str, Any]:
        return read_json(self.folder / "meta" / "info.json", "LeRobot data set's info.json")

    def _shards(self, camera: str) -> dict[int, tuple[int, int, float]]:
        """Returns chunk, file and first second by the number of the episode."""
        if camera not in self._known:
            front = f"videos/{camera}"
            names = ["episode_index", f"{front}/chunk_index", f"{front}/file_index"]
            names.append(f"{front}/from_timestamp")
            found: dict[int, tuple[int, int, float]] = {}
            for file in sorted((self.folder / "meta" / "episodes").rglob("*.parquet")):
                columns, _ = read_table(check_file(file), names)
                for number, chunk, place, begin in zip(*columns.values(), strict=True):
                    found[int(number)] = (int(chunk), int(place), float(begin))
            self._known[camera] = found
        return self._known[camera]

    @cached_property
    def _known(self) -> dict[str, dict[int, tuple[int, int, float]]]:
        return {}


def read_table(file: Path, names: list[str]) -> tuple[dict[str, NDArray[Any]], tuple[int, ...]]:
    """Returns columns of a table, whose lists become rows, and the first row of each of its row groups.

    Raises:
        InputError: If it cannot be read, or lacks a column.
    """
    try:
        from pyarrow import parquet
    except ImportError:
        raise UserError("tables of LeRobot need pyarrow: pip install pyarrow") from None
    try:
        stored = parquet.ParquetFile(file)
        missing = [name for name in names if name not in stored.schema_arrow.names]
        if missing:
            raise InputError(str(file), f"has no column {missing[0]}")
        table = stored.read(columns=names)
        sizes = [stored.metadata.row_group(n).num_rows for n in range(stored.num_row_groups)]
        groups = tuple(int(row) for row in np.cumsum([0, *sizes[:-1]]))
        found: dict[str, NDArray[Any]] = {}
        for name in names:
            values = table.column(name).to_numpy(zero_copy_only=False)
            # Lists come as an array of arrays.
            found[name] = np.stack(values) if values.dtype == object and len(values) else values
    except InputError:
        raise
    except Exception as error:
        # Of a damaged file pyarrow raises errors of several kinds.
        reason = f"{type(error).__name__}: {one_line(error)[:160]}"
        raise InputError(str(file), f"cannot be read ({reason})") from None
    return found, groups
