"""Pulls of bandits, with the arm that would have been best."""

from collections.abc import Sequence

import numpy as np

from headway.core.errors import UserError
from headway.core.training import Passed
from headway.rl.data.base import DrawingOptions, TrajectoryData
from headway.rl.data.trajectory import Trajectory
from headway.rl.environments import BANDIT, read_spaces
from headway.rl.environments.bandit import Bandit
from headway.rl.spaces import Spaces


class BanditData(TrajectoryData):
    """Episodes of ``headway/Bandit-v0`` by players who prefer some arms at random, and the best arm of each.

    Who plays pulls arms by shares of a Dirichlet distribution, mixed with one favourite arm; so contexts are
    now wide, now narrow, and none knows which arm is best.

    Args:
        episodes: How many bandits.
        data_seed: Of means, players and rewards.
        horizon: Pulls of an episode.
        batch_size: Bandits of a batch.
        **drawing: As of every ``TrajectoryData``: number, sampling, top_fraction, val, split_seed, and of
            every ``DataModule``.

    Source:
        Lee et al. 2023, https://arxiv.org/abs/2306.14892, appendix A (their code: collect_data.py).
    """

    def __init__(
        self,
        *,
        episodes: int = 20000,
        data_seed: int = 0,
        horizon: int = 100,
        batch_size: int = 64,
        **drawing: Passed[DrawingOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, context_length=horizon, return_scale=1.0, **drawing)
        self.next_observations = True  # a part of every transition
        if episodes < 2 or horizon < 1:
            raise UserError(
                f"episodes is {episodes} and horizon {horizon}; at least 2 and 1 are needed"
            )
        self.episodes, self.data_seed, self.horizon = episodes, data_seed, horizon
        self._env = Bandit(horizon=horizon)

    @property
    def environment(self) -> str:
        """Name of the environment."""
        return BANDIT

    @property
    def given_spaces(self) -> Spaces:
        """Nothing to see, and the arms."""
        return read_spaces(self._env.observation_space, self._env.action_space)

    def load(self) -> Sequence[Trajectory]:
        """Plays."""
        random = np.random.default_rng(self.data_seed)
        arms, steps = self._env.arms, self.horizon
        seen = np.zeros((steps + 1, 1), np.float32)
        found = []
        for _ in range(self.episodes):
            means = random.random(arms)
            favour = random.integers(0, 11) / 10
            shares = (1 - favour) * random.dirichlet(np.ones(arms))
            shares[random.integers(arms)] += favour
            pulls = random.choice(arms, size=steps, p=shares)
            rewards = random.normal(means[pulls], self._env.noise).astype(np.float32)
            found.append(
                Trajectory(
                    observations=seen,
                    actions=pulls.astype(np.int64),
                    rewards=rewards,
                    terminated=False,
                    expert_actions=np.full(steps, means.argmax(), np.int64),
                )
            )
        return found
