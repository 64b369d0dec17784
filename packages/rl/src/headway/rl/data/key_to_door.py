"""Random walks in the key-to-door rooms."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from headway.core.cli.progress import with_progress
from headway.core.errors import UserError
from headway.rl.data.base import TrajectoryData
from headway.rl.data.sampling import Sampling
from headway.rl.data.trajectory import Trajectory
from headway.rl.environments import KEY_TO_DOOR, KeyToDoor


class KeyToDoorData(TrajectoryData):
    """Episodes of a random walk in ``headway/KeyToDoor-v0``; about four of a hundred succeed.

    Args:
        episodes: How many.
        data_seed: Of the walks.
        batch_size: Stretches of a batch.
        workers: Processes that load.
        seed: Of the drawing.
        eval_batch_size: Stretches of a batch of validation; by default ``batch_size``.
        context_length: Steps of a stretch; an episode has at most 21.
        number: Stretches of an epoch; as many as hold all steps once if None.
        sampling: Which trajectories are drawn how often; every step equally if None.
        top_fraction: Only this share of the trajectories, those with the highest returns, is used.
        val: Share or number of the trajectories that validate.
        split_seed: Of the split.
    """

    def __init__(
        self,
        *,
        episodes: int = 10000,
        data_seed: int = 0,
        batch_size: int = 48,
        workers: int = 0,
        seed: int = 0,
        eval_batch_size: int | None = None,
        context_length: int = 21,
        number: int | None = None,
        sampling: Sampling | None = None,
        top_fraction: float = 1.0,
        val: int | float = 0.05,
        split_seed: int = 0,
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
            return_scale=1.0,
            val=val,
            split_seed=split_seed,
        )
        if episodes < 2:
            raise UserError(f"episodes is {episodes}; at least 2 are needed")
        self.episodes, self.data_seed = episodes, data_seed

    @property
    def environment(self) -> str:
        """Name of the environment."""
        return KEY_TO_DOOR

    @property
    def action_space(self) -> spaces.Space[Any]:
        """The four directions."""
        return KeyToDoor().action_space

    def load(self) -> Sequence[Trajectory]:
        """Walks."""
        env = KeyToDoor()
        random = np.random.default_rng(self.data_seed)
        return [_walk(env, random) for _ in with_progress(range(self.episodes), "walking")]


def _walk(env: KeyToDoor, random: np.random.Generator) -> Trajectory:
    seen, _ = env.reset(seed=int(random.integers(2**31)))
    observations, actions, rewards, ended = [], [], [], False
    while not ended:
        action = random.integers(4)
        observations.append(seen)
        actions.append(action)
        seen, reward, ended, _, _ = env.step(action)
        rewards.append(reward)
    return Trajectory(
        observations=np.stack(observations),
        actions=np.array(actions, np.int64),
        rewards=np.array(rewards, np.float32),
    )
