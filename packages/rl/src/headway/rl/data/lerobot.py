"""Data sets of LeRobot: tables of parquet beside a description."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import InputError, UserError
from headway.core.reading import check_file, read_json
from headway.core.training import Passed
from headway.core.training.invalid import OnInvalid
from headway.rl.data.base import TrajectoryOptions
from headway.rl.data.fitting import fitting_actions, fitting_observations
from headway.rl.data.lerobot_tables import Films, read_table
from headway.rl.data.pictures import FilmColumn, PictureColumn, film_reader
from headway.rl.data.recorded import Reader, RecordedTrajectories
from headway.rl.data.trajectory import Trajectory, checked
from headway.rl.spaces import Box, Dict, Leaf, Space, Spaces

PREFIX = "observation."
NUMBERS = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")
VIEWS = ("image", "video")


class LeRobotData(RecordedTrajectories):
    """Demonstrations in the format of LeRobot, of versions 2 and 3: a folder with ``meta`` and ``data``.

    Observations are the numbers under ``observation.``, and the cameras that are asked for: one of them
    alone, or several by name. Pictures (with Pillow) and films (with PyAV) are read where they are wanted, as
    bytes with channels last. Rewards are ``next.reward``, zero where there are none; an episode has ended by
    itself where ``next.done`` says so.

    Args:
        path: The folder, or its ``meta/info.json``.
        cameras: Which are read, such as ``images.top``; all if None.
        environment: Name of the environment, for playing in it.
        on_invalid: What happens to episodes that cannot be read, are empty or hold NaN.
        **drawing: As of every ``TrajectoryData``.
    """

    def __init__(
        self,
        *,
        path: str,
        cameras: Sequence[str] | None = (),
        environment: str | None = None,
        on_invalid: OnInvalid = "raise",
        **drawing: Passed[TrajectoryOptions],
    ) -> None:
        super().__init__(path=path, environment=environment, on_invalid=on_invalid, **drawing)
        self.cameras = None if cameras is None else tuple(cameras)

    @property
    def given_spaces(self) -> Spaces:
        """What ``meta/info.json`` says."""
        features = self._features
        parts: dict[str, Leaf] = {
            name.removeprefix(PREFIX): _box(value, name)
            for name, value in features.items()
            if name.startswith(PREFIX) and value["dtype"] in NUMBERS
        }
        parts |= {name.removeprefix(PREFIX): _picture(features[name], name) for name in self._views}
        if not parts:
            raise InputError(
                self.path, "has no numbers to see; set cameras to null, or to those that are wanted"
            )
        observation: Space = next(iter(parts.values())) if len(parts) == 1 else Dict(parts=parts)
        if "action" not in features:
            raise InputError(self.path, f"has no action; it has {', '.join(features)}")
        return Spaces(observation=observation, action=_box(features["action"], "action"))

    @property
    def _views(self) -> list[str]:
        """Features of the cameras that are asked for."""
        there = [
            name
            for name, value in self._features.items()
            if name.startswith(PREFIX) and value["dtype"] in VIEWS
        ]
        if self.cameras is None:
            return there
        wanted = [PREFIX + name.removeprefix(PREFIX) for name in self.cameras]
        missing = [name for name in wanted if name not in there]
        if missing:
            known = ", ".join(name.removeprefix(PREFIX) for name in there) or "none"
            raise UserError(
                f"{self.path} has no camera {missing[0].removeprefix(PREFIX)!r}; it has {known}"
            )
        return wanted

    def readers(self) -> Iterator[Reader]:
        """Yields what takes each episode out of the tables."""
        spaces, features = self.given_spaces, self._features
        wanted = [
            name
            for name, value in features.items()
            if value["dtype"] in NUMBERS
            and (name.startswith((PREFIX, "next.")) or name == "action")
        ]
        films = [name for name in self._views if features[name]["dtype"] == "video"]
        if films:
            film_reader()
            wanted = [*wanted, "timestamp"]
        files = sorted((self._folder / "data").rglob("*.parquet"))
        if not files:
            raise InputError(
                self.path, f"has no tables (looked for {self._folder}/data/*/*.parquet)"
            )
        for file in files:
            columns, groups = read_table(check_file(file), [*wanted, "episode_index"])
            numbers = columns.pop("episode_index").reshape(-1)
            cuts = np.flatnonzero(np.diff(numbers)) + 1
            for rows in np.split(np.arange(len(numbers)), cuts):
                if len(rows):
                    number = int(numbers[rows[0]])
                    seen = {
                        name: partial(self._view, name, file, groups, number)
                        for name in self._views
                    }
                    name = f"{self.path}, episode {number}"
                    part = slice(int(rows[0]), int(rows[-1]) + 1)
                    yield partial(_episode, name, columns, part, spaces, seen)

    def _view(
        self, name: str, file: Path, groups: tuple[int, ...], episode: int, rows: slice, times: Any
    ) -> PictureColumn | FilmColumn:
        """Returns the pictures of a camera in an episode.

        Args:
            name: The feature.
            file: The table of the episode.
            groups: First row of each of its row groups.
            episode: Number of the episode.
            rows: Of the table.
            times: When each step was, in seconds from the beginning of the episode; of films alone.
        """
        shape = (rows.stop - rows.start, *_picture(self._features[name], name).shape)
        if self._features[name]["dtype"] == "image":
            return PictureColumn(file, name, groups=groups, shape=shape, first=rows.start)
        film, begin = self._films.find(name, episode)
        return FilmColumn(film, begin + times.reshape(-1).astype(np.float64), shape=shape)

    @cached_property
    def _films(self) -> Films:
        return Films(self._folder)

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


def _picture(feature: dict[str, Any], name: str) -> Box:
    shape, names = feature.get("shape"), feature.get("names")
    if not isinstance(shape, list) or len(shape) != 3 or sorted(shape)[0] != 3:
        raise InputError("info.json", f"the camera {name} has shape {shape!r:.80}")
    if not all(isinstance(n, int) for n in shape):
        raise InputError("info.json", f"the camera {name} has shape {shape!r:.80}")
    # Where names are missing, the three channels say where they stand.
    first = names[0] in ("channel", "channels") if isinstance(names, list) and names else None
    if first is None:
        first = shape[0] == 3 and shape[2] != 3
    height, width = shape[1:] if first else shape[:2]
    return Box(shape=(height, width, 3), low=0.0, high=255.0, dtype="uint8")


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
    name: str,
    columns: dict[str, NDArray[Any]],
    rows: slice,
    spaces: Spaces,
    views: Mapping[str, Callable[..., Any]],
) -> Trajectory:
    part: dict[str, Any] = {key: values[rows] for key, values in columns.items()}
    times = part.pop("timestamp", None)
    part |= {key: make(rows, times) for key, make in views.items()}
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
