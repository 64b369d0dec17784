"""The pickled trajectories of the decision transformer's authors, read without running what is in them."""

import io
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from headway.core.errors import InputError, one_line
from headway.core.reading import check_file
from headway.core.unpickling import ArraysOnly
from headway.rl.data.recorded import Reader, RecordedTrajectories
from headway.rl.data.trajectory import Trajectory, checked

KEYS = ("observations", "actions", "rewards")
ENDS = ("terminals", "dones")


class PickledTrajectories(RecordedTrajectories):
    """Trajectories of a pickle such as ``hopper-medium-v2.pkl`` of kzl/decision-transformer.

    Such a file holds a list of dictionaries with ``observations``, ``actions``, ``rewards`` and ``terminals``
    (or ``dones``). A pickle can run any code when it is opened; here nothing but arrays of numpy is made of
    it, and a file with anything else is refused.

    Args:
        path: The file.
        environment: Name of the environment, for playing in it.
        on_invalid: What happens to episodes that are empty or hold NaN.
        **drawing: As of every ``TrajectoryData``.
    """

    def readers(self) -> Iterator[Reader]:
        """Yields what takes each episode out of the list."""
        episodes = _unpickled(self.path)
        if not isinstance(episodes, (list, tuple)):
            raise InputError(
                self.path, f"holds a {type(episodes).__name__}, expected a list of trajectories"
            )
        for number, episode in enumerate(episodes):
            yield partial(_episode, f"{self.path}, trajectory {number}", episode)


def _episode(name: str, episode: Any) -> Trajectory:
    if not isinstance(episode, dict):
        raise InputError(name, f"is a {type(episode).__name__}, expected a dictionary")
    missing = [key for key in KEYS if not isinstance(episode.get(key), np.ndarray)]
    if missing:
        raise InputError(name, f"has no array {missing[0]}; it has {sorted(map(str, episode))}")
    ends = next((episode[key] for key in ENDS if key in episode), None)
    return checked(
        name,
        **{key: episode[key] for key in KEYS},
        terminated=ends is None or bool(np.asarray(ends)[-1:].any()),
    )


def _unpickled(path: str) -> Any:
    file = check_file(path, "pickle of trajectories")
    try:
        return ArraysOnly(io.BytesIO(file.read_bytes())).load()
    except InputError:
        raise
    except Exception as error:
        # A damaged pickle raises anything.
        reason = f"{type(error).__name__}: {one_line(error)[:160]}"
        raise InputError(path, f"is no pickle of arrays ({reason})") from None
