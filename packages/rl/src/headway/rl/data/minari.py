"""Data sets of Minari."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from headway.core.errors import InputError, UserError, one_line
from headway.core.reading import check_file, read_json
from headway.core.training import Passed
from headway.core.training.invalid import InvalidItems, OnInvalid
from headway.rl.data.base import TrajectoryData, TrajectoryOptions
from headway.rl.data.files import FileColumn
from headway.rl.data.fitting import fitting_actions, fitting_observations
from headway.rl.data.recorded import read_episodes
from headway.rl.data.trajectory import Trajectory, checked, columns
from headway.rl.environments import named, read_spaces, refuse_import
from headway.rl.spaces import Spaces

# Without its spaces minari would make the environment, and import what the file names.
REQUIRED = {
    "observation_space": str,
    "action_space": str,
    "data_format": str,
    "total_episodes": int,
    "total_steps": int,
}
NAMES = {str: "a text", int: "a whole number"}
# What gzip, the strongest filter of HDF5, reaches at best.
MAX_COMPRESSION = 1100
MAX_KEPT = 2**30
"""Bytes of observations that are kept in memory; those of further episodes are read where they are wanted."""


class MinariData(TrajectoryData):
    """Trajectories of a Minari data set, such as ``mujoco/hopper/medium-v0``, in HDF5 or Arrow.

    Observations and actions keep their types and shapes: numbers, pictures, choices from any start, several
    of them by name. Observations beyond ``MAX_KEPT`` bytes stay in the file and are read where a batch wants
    them.

    Args:
        path: Name of a data set that is here or on the server, or the folder of one.
        download: Whether to fetch a data set that is not here.
        on_invalid: What happens to episodes that cannot be read, are empty or hold NaN.
        **drawing: As of every ``TrajectoryData``: batch_size, context_length, number, sampling, top_fraction,
            return_scale, val, split_seed, next_observations, and of every ``DataModule``.
    """

    def __init__(
        self,
        *,
        path: str,
        download: bool = False,
        on_invalid: OnInvalid = "raise",
        **drawing: Passed[TrajectoryOptions],
    ) -> None:
        super().__init__(**drawing)
        self.path, self.download = path, download
        self.invalid = InvalidItems(on_invalid, "episodes")
        self._environment: str | None = None
        self._spaces: Spaces | None = None

    @property
    def given_spaces(self) -> Spaces | None:
        """What is seen and done, as the data set says."""
        return self._spaces

    @property
    def environment(self) -> str | None:
        """Name of the environment, as the data set says."""
        return self._environment

    def load(self) -> Sequence[Trajectory]:
        """Reads all episodes."""
        data = open_minari(self.path, download=self.download)
        spec = data.env_spec
        found_name = getattr(spec, "id", None)
        self._environment = None if found_name is None else refuse_import(found_name, self.path)
        self._spaces = spaces = read_spaces(data.observation_space, data.action_space)
        kept = 0

        def reader(number: int) -> Trajectory:
            nonlocal kept
            name = f"{self.path}, episode {number}"
            one = _read_episode(name, data, number, spaces, in_memory=kept < MAX_KEPT)
            parts = columns(one.observations).values()
            kept += sum(values.nbytes for values in parts if isinstance(values, np.ndarray))
            return one

        readers = (partial(reader, number) for number in range(data.total_episodes))
        return read_episodes(self.path, readers, self.invalid)


def _read_episode(
    name: str, data: Any, number: int, spaces: Spaces, *, in_memory: bool
) -> Trajectory:
    """Reads one episode; whatever is wrong with it is an ``InputError``."""
    try:
        _check_sizes(name, data, number)
        file = Path(data.storage.data_path) / "main_data.hdf5"
        if in_memory or not file.is_file():
            episode = data[number]
            seen: Any = named(episode.observations)
            actions, rewards, ends = episode.actions, episode.rewards, episode.terminations
        else:
            seen, actions, rewards, ends = _in_file(file, f"episode_{number}")
        return checked(
            name,
            observations=fitting_observations(name, seen, spaces.observation),
            actions=fitting_actions(name, np.asarray(actions), spaces.action),
            rewards=np.asarray(rewards),
            terminated=bool(np.asarray(ends)[-1:].any()),
        )
    except InputError:
        raise
    except Exception as error:
        # Of a damaged file h5py and minari raise anything: OSError, KeyError, an assertion.
        raise InputError(name, f"cannot be read ({_reason(error)})") from None


def _in_file(path: Path, group: str) -> tuple[Any, Any, Any, Any]:
    """Returns an episode of which only actions and rewards are read; observations stay in the file."""
    import h5py

    seen: dict[str, FileColumn] = {}

    def add(key: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            # Tuples are stored as parts _index_0, _index_1 ...
            flat = "/".join(part.removeprefix("_index_") for part in key.split("/"))
            seen[flat] = FileColumn(path, str(item.name), shape=item.shape, dtype=item.dtype)

    with h5py.File(path, "r") as file:
        episode: Any = file[group]
        stored = episode["observations"]
        if isinstance(stored, h5py.Dataset):
            observations: Any = FileColumn(
                path, str(stored.name), shape=stored.shape, dtype=stored.dtype
            )
        else:
            stored.visititems(add)
            observations = seen
        parts = (episode[name][()] for name in ("actions", "rewards", "terminations"))
        return (observations, *parts)


def _check_sizes(name: str, data: Any, number: int) -> None:
    """Compares what the arrays of an episode claim to hold with the file: reading them may take hours."""
    path = Path(data.storage.data_path) / "main_data.hdf5"
    if not path.is_file():
        return  # minari's other format, Arrow, checks its own
    import h5py

    most = MAX_COMPRESSION * path.stat().st_size
    rows = data.total_steps + 1

    def check(part: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if item.shape is None or item.nbytes > most or (item.shape and item.shape[0] > rows):
            raise InputError(name, f"its {part} claim a shape of {item.shape}; the file is damaged")

    with h5py.File(path, "r") as file:
        episode: Any = file[f"episode_{number}"]
        episode.visititems(check)


def open_minari(path: str, *, download: bool) -> Any:
    """Opens a data set by name or folder.

    Raises:
        UserError: If minari or the data set is missing, or it is damaged.
    """
    try:
        import minari
        from minari.storage import get_dataset_path
    except ImportError:
        raise UserError('Minari data need minari: pip install "headway[rl]"') from None
    try:
        folder = Path(path).expanduser()
        if not folder.is_dir():
            folder = get_dataset_path(path)
            if download and not (folder / "data").exists():
                minari.download_dataset(path)
        inner = folder / "data" if (folder / "data").is_dir() else folder
        if not inner.is_dir():
            raise FileNotFoundError(f"no folder {inner}")
    except Exception as error:
        raise UserError(
            f"there is no Minari data set {path} ({_reason(error)}); minari list local shows those "
            "that are here, --data.download true fetches one"
        ) from None
    _check_metadata(inner)
    try:
        return minari.MinariDataset(inner)
    except Exception as error:
        # What it raises of damaged files is not documented: KeyError, TypeError, assertions.
        raise InputError(str(path), f"is no Minari data set ({_reason(error)})") from None


def _check_metadata(folder: Path) -> None:
    """Checks what minari takes for granted before it reads, counts or imports by it."""
    file = folder / "metadata.json"
    metadata = read_json(file, "Minari data set's metadata.json")
    for key, kind in REQUIRED.items():
        value = metadata.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InputError(str(file), f"has {key} = {value!r:.80}, expected {NAMES[kind]}")
    # Every episode has groups of its own, which take room.
    files = [check_file(path) for path in sorted(folder.rglob("*")) if not path.is_dir()]
    size = sum(path.stat().st_size for path in files)
    if not 0 <= metadata["total_episodes"] <= size:
        raise InputError(
            str(file),
            f"has total_episodes = {metadata['total_episodes']}, more than the files hold",
        )


def _reason(error: Exception) -> str:
    words = one_line(error)
    return f"{type(error).__name__}: {words[:200]}" if words else type(error).__name__
