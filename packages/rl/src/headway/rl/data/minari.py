"""Data sets of Minari."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from headway.core.errors import InputError, UserError, one_line
from headway.core.reading import check_file, read_json
from headway.core.training import Passed
from headway.core.training.invalid import InvalidItems, OnInvalid
from headway.rl.data.base import TrajectoryData, TrajectoryOptions
from headway.rl.data.trajectory import Trajectory, checked
from headway.rl.environments import action_size, refuse_import

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
MAX_ONE_HOT = 2**31
"""Most bytes that observations which are one of several may take as vectors, all episodes together."""


class MinariData(TrajectoryData):
    """Trajectories of a Minari data set, such as ``mujoco/hopper/medium-v0``, in HDF5 or Arrow.

    Discrete actions are counted from 0, wherever their space starts; ``headway rollout`` adds the start of
    the environment's space again.

    Args:
        path: Name of a data set that is here or on the server, or the folder of one.
        download: Whether to fetch a data set that is not here.
        on_invalid: What happens to episodes that cannot be read, are empty or hold NaN.
        **drawing: As of every ``TrajectoryData``: batch_size, context_length, number, sampling, top_fraction,
            return_scale, val, split_seed, and of every ``DataModule``.
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
        self._action_space: spaces.Space[Any] | None = None

    @property
    def action_space(self) -> spaces.Space[Any] | None:
        """Space of the actions, as the data set says."""
        return self._action_space

    @property
    def environment(self) -> str | None:
        """Name of the environment, as the data set says."""
        return self._environment

    def load(self) -> Sequence[Trajectory]:
        """Reads all episodes."""
        data = open_minari(self.path, download=self.download)
        spec = data.env_spec
        named = getattr(spec, "id", None)
        self._environment = None if named is None else refuse_import(named, self.path)
        self._action_space = data.action_space
        action_size(data.action_space)
        flat = _flattener(data.observation_space, data.total_steps + data.total_episodes)
        found: list[Trajectory] = []
        for number in range(data.total_episodes):
            name = f"{self.path}, episode {number}"
            try:
                found.append(_read_episode(name, data, number, flat))
            except InputError as error:
                self.invalid.add(error)
        self.invalid.log(len(found) + len(self.invalid.errors))
        if not found and self.invalid.errors:
            raise InputError(self.path, f"no episode can be used; {self.invalid.errors[0]}")
        return found


def _read_episode(name: str, data: Any, number: int, flat: Any) -> Trajectory:
    """Reads one episode; whatever is wrong with it is an ``InputError``."""
    try:
        _check_sizes(name, data, number)
        episode = data[number]
        actions = _checked_actions(name, np.asarray(episode.actions), data.action_space)
        return checked(
            name,
            observations=flat(episode.observations),
            actions=actions,
            rewards=np.asarray(episode.rewards),
            terminated=bool(np.asarray(episode.terminations)[-1:].any()),
        )
    except InputError:
        raise
    except Exception as error:
        # Of a damaged file h5py and minari raise anything: OSError, KeyError, an assertion.
        raise InputError(name, f"cannot be read ({_reason(error)})") from None


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


def _checked_actions(name: str, actions: NDArray[Any], space: spaces.Space[Any]) -> NDArray[Any]:
    """Returns actions that their space has; choices are counted from 0, wherever the space starts."""
    if isinstance(space, spaces.Box) and actions.shape[1:] != space.shape:
        raise InputError(name, f"has actions of {actions.shape[1:]}, the space has {space.shape}")
    if not isinstance(space, spaces.Discrete):
        return actions
    if not np.issubdtype(actions.dtype, np.integer):
        raise InputError(name, f"has actions of {actions.dtype}; choices are whole numbers")
    places = actions.astype(np.int64) - int(space.start)
    outside = actions[(places < 0) | (places >= space.n)]
    if outside.size:
        raise InputError(
            name, f"has the action {outside[0]}; there are {space.n}, from {space.start}"
        )
    return places


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


def _flattener(space: spaces.Space[Any], rows: int) -> Any:
    """Returns what makes rows of observations vectors; ``rows`` are those of all episodes."""
    if isinstance(space, spaces.Box):
        return lambda seen: _numbers(seen, space.shape)
    if isinstance(space, spaces.Discrete):
        size = 4 * int(space.n) * rows
        if size > MAX_ONE_HOT:
            raise UserError(
                f"{rows:,} observations of {space} take {size:,} bytes as one-hot vectors, at most "
                f"{MAX_ONE_HOT:,} may; embed or bin them, and write the data set anew"
            )

        def one_hot_of(seen: Any) -> NDArray[Any]:
            places = np.asarray(seen) - space.start
            if places.size and not 0 <= places.min() <= places.max() < space.n:
                raise ValueError(f"observations outside {space}")
            made = np.zeros((len(places), int(space.n)), dtype=np.float32)
            made[np.arange(len(places)), places] = 1.0
            return made

        return one_hot_of
    if isinstance(space, spaces.Dict):
        # The order of the keys is that of gymnasium's FlattenObservation.
        inner = {name: _flattener(part, rows) for name, part in space.spaces.items()}
        return lambda seen: np.concatenate(
            [flat(seen[name]) for name, flat in inner.items()], axis=1
        )
    raise UserError(f"observations of {space} cannot be made a vector")


def _numbers(seen: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    values = np.asarray(seen)
    if values.shape[1:] != shape:
        raise ValueError(f"observations of {values.shape[1:]}, the space has {shape}")
    return values.reshape(len(values), math.prod(shape))
