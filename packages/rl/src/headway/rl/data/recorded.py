"""Episodes from files, of which some may be bad."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence

from headway.core.errors import InputError
from headway.core.training import Passed
from headway.core.training.invalid import InvalidItems, OnInvalid
from headway.rl.data.base import TrajectoryData, TrajectoryOptions
from headway.rl.data.trajectory import Trajectory

Reader = Callable[[], Trajectory]


def read_episodes(path: str, readers: Iterable[Reader], invalid: InvalidItems) -> list[Trajectory]:
    """Reads one episode after the other.

    Args:
        path: Where they come from, for messages.
        readers: Each returns an episode, or raises ``InputError``.
        invalid: Says what becomes of those that cannot be read.

    Raises:
        InputError: If none can be used.
    """
    found: list[Trajectory] = []
    for read in readers:
        try:
            found.append(read())
        except InputError as error:
            invalid.add(error)
    invalid.log(len(found) + len(invalid.errors))
    if not found and invalid.errors:
        raise InputError(path, f"no episode can be used; {invalid.errors[0]}")
    return found


class RecordedTrajectories(TrajectoryData):
    """Trajectories of a file that does not say where they come from; a subclass reads it.

    Args:
        path: The file.
        environment: Name of the environment, for playing in it.
        on_invalid: What happens to episodes that cannot be read, are empty or hold NaN.
        **drawing: As of every ``TrajectoryData``: batch_size, context_length, number, sampling, top_fraction,
            return_scale, val, split_seed, next_observations, and of every ``DataModule``.
    """

    def __init__(
        self,
        *,
        path: str,
        environment: str | None = None,
        on_invalid: OnInvalid = "raise",
        **drawing: Passed[TrajectoryOptions],
    ) -> None:
        super().__init__(**drawing)
        self.path, self._environment = path, environment
        self.invalid = InvalidItems(on_invalid, "episodes")

    @property
    def environment(self) -> str | None:
        """Name of the environment, if it was given."""
        return self._environment

    @abstractmethod
    def readers(self) -> Iterator[Reader]:
        """Yields what reads each episode."""

    def load(self) -> Sequence[Trajectory]:
        """Reads all episodes."""
        return read_episodes(self.path, self.readers(), self.invalid)
