"""Data sets of LeRobot: tables of parquet beside a description."""

from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import InputError, UserError, one_line
from headway.core.reading import check_file, read_json
from headway.rl.data.fitting import fitting_actions, fitting_observations
from headway.rl.data.recorded import Reader, RecordedTrajectories
from headway.rl.data.trajectory import Trajectory, checked
from headway.rl.spaces import Box, Dict, Leaf, Space, Spaces

PREFIX = "observation."
NUMBERS = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")


class LeRobotData(RecordedTrajectories):
    """Demonstrations in the format of LeRobot, of versions 2 and 3: a folder with ``meta`` and ``data``.

    Observations are the numbers under ``observation.``: one vector, or several by name. Cameras are left out:
    pictures and films of such a data set are not read yet. Rewards are ``next.reward``, zero where there are
    none; an episode has ended by itself where ``next.done`` says so.

    Args:
        path: The folder, or its ``meta/info.json``.
        environment: Name of the environment, for playing in it.
        on_invalid: What happens to episodes that cannot be read, are empty or hold NaN.
        **drawing: As of every ``TrajectoryData``.
    """

    @property
    def given_spaces(self) -> Spaces:
        """What ``meta/info.json`` says."""
        features = self._features
        parts: dict[str, Leaf] = {
            name.removeprefix(PREFIX): _box(value, name)
            for name, value in features.items()
            if name.startswith(PREFIX) and value["dtype"] in NUMBERS
        }
        if not parts:
            raise InputError(self.path, "has no numbers to see; cameras are not read yet")
        observation: Space = next(iter(parts.values())) if len(parts) == 1 else Dict(parts=parts)
        if "action" not in features:
            raise InputError(self.path, f"has no action; it has {', '.join(features)}")
        return Spaces(observation=observation, action=_box(features["action"], "action"))

    def readers(self) -> Iterator[Reader]:
        """Yields what takes each episode out of the tables."""
        spaces, features = self.given_spaces, self._features
        wanted = [
            name
            for name, value in features.items()
            if value["dtype"] in NUMBERS
            and (name.startswith((PREFIX, "next.")) or name == "action")
        ]
        files = sorted((self._folder / "data").rglob("*.parquet"))
        if not files:
            raise InputError(
                self.path, f"has no tables (looked for {self._folder}/data/*/*.parquet)"
            )
        for file in files:
            columns = _read(check_file(file), [*wanted, "episode_index"])
            numbers = columns.pop("episode_index").reshape(-1)
            cuts = np.flatnonzero(np.diff(numbers)) + 1
            for rows in np.split(np.arange(len(numbers)), cuts):
                if len(rows):
                    name = f"{self.path}, episode {numbers[rows[0]]}"
                    yield partial(_episode, name, columns, slice(rows[0], rows[-1] + 1), spaces)

    @property
    def _folder(self) -> Path:
        path = Path(self.path).expanduser()
        return path.parent.parent if path.name == "info.json" else path

    @cached_property
    def _features(self) -> dict[str, dict[str, Any]]:
        file = self._folder / "meta" / "info.json"
        features = read_json(file, "LeRobot data set's info.json").get("features")
        if not isinstance(features, dict):
            raise InputError(str(file), f"has features = {features!r:.80}, expected a mapping")
        for name, value in features.items():
            if not isinstance(value, dict) or not isinstance(value.get("dtype"), str):
                raise InputError(str(file), f"says no dtype of the feature {name}")
        return features


def _box(feature: dict[str, Any], name: str) -> Box:
    if feature["dtype"] not in NUMBERS:
        raise InputError(
            "info.json", f"the feature {name} is {feature['dtype']!r:.40}, expected numbers"
        )
    shape = feature.get("shape")
    if not isinstance(shape, list) or not all(isinstance(n, int) and n > 0 for n in shape):
        raise InputError("info.json", f"the feature {name} has shape {shape!r:.80}")
    return Box(shape=tuple(shape), dtype="uint8" if feature["dtype"] == "uint8" else "float32")


def _episode(
    name: str, columns: dict[str, NDArray[Any]], rows: slice, spaces: Spaces
) -> Trajectory:
    part = {key: values[rows] for key, values in columns.items()}
    if isinstance(spaces.observation, Dict):
        seen: Any = {key: part[PREFIX + key] for key in spaces.observation.parts}
    else:
        seen = next(values for key, values in part.items() if key.startswith(PREFIX))
    steps = len(part["action"])
    done = part.get("next.done")
    return checked(
        name,
        observations=fitting_observations(name, seen, spaces.observation),
        actions=fitting_actions(name, part["action"], spaces.action).astype(np.float32),
        rewards=part.get("next.reward", np.zeros(steps)).reshape(steps).astype(np.float32),
        terminated=done is None or bool(done.reshape(-1)[-1]),
    )


def _read(file: Path, names: list[str]) -> dict[str, NDArray[Any]]:
    """Returns columns of a table; lists become rows."""
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
        found = {}
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
    return found
