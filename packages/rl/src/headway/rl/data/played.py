"""Episodes of chance in any environment: where learning by trying begins."""

from collections.abc import Callable, Sequence

from headway.core.cli.progress import progress_bar
from headway.core.errors import UserError
from headway.core.training import Passed
from headway.rl.data.base import TrajectoryData, TrajectoryOptions
from headway.rl.data.collecting import record, trajectory
from headway.rl.data.trajectory import Trajectory
from headway.rl.environments import make_vector, read_spaces
from headway.rl.models import RandomPolicy
from headway.rl.spaces import Spaces


class RandomPlay(TrajectoryData):
    """Episodes with actions that are drawn evenly, in an environment that is given by name.

    Args:
        environment: Name of the environment, such as ``headway/Curves-v0``.
        episodes: How many.
        data_seed: Of the first episode; the others follow.
        environments: How many are played side by side.
        relabel: What becomes of each episode, such as ``headway.rl.data.hindsight``; nothing if None.
        **trajectories: As of every ``TrajectoryData``.
    """

    def __init__(
        self,
        *,
        environment: str,
        episodes: int = 200,
        data_seed: int = 0,
        environments: int = 16,
        relabel: Callable[[Trajectory], Trajectory] | None = None,
        **trajectories: Passed[TrajectoryOptions],
    ) -> None:
        super().__init__(**trajectories)
        if episodes < 2 or environments < 1:
            raise UserError(
                f"episodes is {episodes} and environments {environments}; at least 2 and 1 are needed"
            )
        self._environment, self.episodes, self.data_seed = environment, episodes, data_seed
        self.environments, self.relabel = environments, relabel
        self._spaces: Spaces | None = None

    @property
    def environment(self) -> str:
        """Name of the environment."""
        return self._environment

    @property
    def given_spaces(self) -> Spaces | None:
        """Those of the environment; after ``load``."""
        return self._spaces

    def load(self) -> Sequence[Trajectory]:
        """Plays."""
        envs = make_vector(self.environment, min(self.environments, self.episodes))
        try:
            spaces = read_spaces(envs.single_observation_space, envs.single_action_space)
            with progress_bar("playing", total=self.episodes) as advance:
                found = record(
                    RandomPolicy(spaces, seed=self.data_seed),
                    envs,
                    episodes=self.episodes,
                    seed=self.data_seed,
                    progress=advance,
                )
        finally:
            envs.close()
        self._spaces = spaces
        played = [trajectory(one, spaces) for one in found]
        return played if self.relabel is None else [self.relabel(one) for one in played]
