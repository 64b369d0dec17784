"""HDF5 files of D4RL."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import InputError, UserError, one_line
from headway.core.reading import check_file
from headway.rl.data.recorded import Reader, RecordedTrajectories
from headway.rl.data.trajectory import Trajectory, checked

COLUMNS = ("observations", "actions", "rewards", "terminals")


class D4RLData(RecordedTrajectories):
    """Trajectories of an HDF5 file of D4RL, such as ``hopper_medium-v2.hdf5``.

    Such a file holds the steps of all episodes one behind the other; an episode ends where ``terminals`` or
    ``timeouts`` say so. Steps after the last end are an episode that was cut off. Old files have no
    ``timeouts``: there episodes that were cut off run into the next one, which cannot be seen.

    Args:
        path: The file.
        environment: Name of the environment of today, for playing in it; physics and rewards of ``Hopper-v5``
            are not those that D4RL recorded (``headway.rl.metrics.normalised_score``).
        on_invalid: What happens to episodes that are empty or hold NaN.
        **drawing: As of every ``TrajectoryData``.

    Source:
        Fu et al. 2020, https://arxiv.org/abs/2004.07219.
    """

    def readers(self) -> Iterator[Reader]:
        """Yields what cuts each episode out of the columns."""
        columns, ends = _read(self.path)
        starts = [0, *(np.flatnonzero(ends) + 1).tolist()]
        total = len(ends)
        stops = [*starts[1:], total]
        for number, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            if start < stop:
                yield partial(_episode, f"{self.path}, episode {number}", columns, start, stop)


def _episode(name: str, columns: dict[str, NDArray[Any]], start: int, stop: int) -> Trajectory:
    part = {key: values[start:stop] for key, values in columns.items()}
    return checked(
        name,
        observations=part["observations"],
        actions=part["actions"],
        rewards=part["rewards"],
        terminated=bool(part["terminals"][-1]),
    )


def _read(path: str) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_]]:
    """Returns the columns, and where an episode ends."""
    try:
        import h5py
    except ImportError:
        raise UserError('files of D4RL need h5py: pip install "headway[rl]"') from None
    file = check_file(path, "D4RL file")
    try:
        with h5py.File(file, "r") as opened:
            stored: Any = opened
            missing = [name for name in COLUMNS if not isinstance(stored.get(name), h5py.Dataset)]
            if missing:
                raise InputError(
                    path, f"has no {missing[0]}; a D4RL file has {', '.join(COLUMNS)} and timeouts"
                )
            # What a damaged header claims may be more than a disk holds.
            size = 1100 * file.stat().st_size
            names = [*COLUMNS, *(["timeouts"] if "timeouts" in stored else [])]
            for name in names:
                if stored[name].nbytes > size:
                    raise InputError(path, f"{name} claim {stored[name].shape}; it is damaged")
            columns = {name: stored[name][()] for name in names}
    except InputError:
        raise
    except Exception as error:
        # Of a damaged file h5py raises anything.
        raise InputError(path, f"is no D4RL file ({one_line(error)[:200]})") from None
    lengths = {name: len(values) if values.ndim else 0 for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise InputError(path, f"its columns differ in length: {lengths}")
    ends = columns["terminals"].astype(bool).reshape(-1)
    if "timeouts" in columns:
        ends = ends | columns.pop("timeouts").astype(bool).reshape(-1)
    if len(ends) != len(columns["rewards"]):
        raise InputError(path, "terminals and timeouts are not one value a step")
    return columns, ends
