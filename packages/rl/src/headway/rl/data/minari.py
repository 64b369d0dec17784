"""Data sets of Minari."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from headway.core.errors import InputError, UserError
from headway.core.training.invalid import InvalidItems, OnInvalid
from headway.rl.data.base import TrajectoryData
from headway.rl.data.sampling import Sampling
from headway.rl.data.trajectory import Trajectory, checked
from headway.rl.environments import action_size, refuse_import


class MinariData(TrajectoryData):
    """Trajectories of a Minari data set, such as ``mujoco/hopper/medium-v0``.

    Args:
        path: Name of a data set that is here or on the server, or the folder of one.
        batch_size: Stretches of a batch.
        workers: Processes that load.
        seed: Of the drawing.
        eval_batch_size: Stretches of a batch of validation; by default ``batch_size``.
        context_length: Steps of a stretch.
        number: Stretches of an epoch; as many as hold all steps once if None.
        sampling: Which trajectories are drawn how often; every step equally if None.
        top_fraction: Only this share of the trajectories, those with the highest returns, is used.
        return_scale: What returns are divided by; the largest absolute return if None.
        val: Share or number of the trajectories that validate.
        split_seed: Of the split.
        download: Whether to fetch a data set that is not here.
        on_invalid: What happens to episodes that are empty or hold NaN.
    """

    def __init__(
        self,
        *,
        path: str,
        batch_size: int = 64,
        workers: int = 0,
        seed: int = 0,
        eval_batch_size: int | None = None,
        context_length: int = 20,
        number: int | None = None,
        sampling: Sampling | None = None,
        top_fraction: float = 1.0,
        return_scale: float | None = None,
        val: int | float = 0.05,
        split_seed: int = 0,
        download: bool = False,
        on_invalid: OnInvalid = "raise",
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            workers=workers,
            seed=seed,
            eval_batch_size=eval_batch_size,
            context_length=context_length,
            number=number,
            sampling=sampling,
            top_fraction=top_fraction,
            return_scale=return_scale,
            val=val,
            split_seed=split_seed,
        )
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
        spec = getattr(data.spec, "env_spec", None)
        named = getattr(spec, "id", None)
        self._environment = None if named is None else refuse_import(named, self.path)
        self._action_space = data.action_space
        action_size(data.action_space)
        flat = _flattener(data.observation_space)
        found: list[Trajectory] = []
        for episode in data.iterate_episodes():
            try:
                found.append(
                    checked(
                        f"{self.path}, episode {episode.id}",
                        observations=flat(episode.observations, len(episode.rewards) + 1),
                        actions=np.asarray(episode.actions),
                        rewards=np.asarray(episode.rewards),
                        terminated=bool(np.asarray(episode.terminations)[-1:].any()),
                    )
                )
            except InputError as error:
                self.invalid.add(error)
        self.invalid.log(len(found) + len(self.invalid.errors))
        return found


def open_minari(path: str, *, download: bool) -> Any:
    """Opens a data set by name or folder.

    Raises:
        UserError: If minari or the data set is missing, or its actions are of a kind that is unknown.
    """
    try:
        import minari
    except ImportError:
        raise UserError('Minari data need minari: pip install "headway[rl]"') from None
    folder = Path(path).expanduser()
    try:
        if folder.is_dir():
            inner = folder / "data" if (folder / "data").is_dir() else folder
            return minari.MinariDataset(inner)
        return minari.load_dataset(path, download=download)
    except (FileNotFoundError, ValueError, KeyError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"there is no Minari data set {path} ({reason}); minari list local shows those that are "
            "here, --data.download true fetches one"
        ) from None


def _flattener(space: spaces.Space[Any]) -> Any:
    if isinstance(space, spaces.Box):
        return lambda seen, steps: np.asarray(seen).reshape(steps, -1)
    if isinstance(space, spaces.Discrete):
        return lambda seen, steps: np.eye(int(space.n), dtype=np.float32)[np.asarray(seen)]
    if isinstance(space, spaces.Dict):
        # The order of the keys is that of gymnasium's FlattenObservation.
        inner = {name: _flattener(part) for name, part in space.spaces.items()}
        return lambda seen, steps: np.concatenate(
            [flat(seen[name], steps) for name, flat in inner.items()], axis=1
        )
    raise UserError(f"observations of {space} cannot be made a vector")
