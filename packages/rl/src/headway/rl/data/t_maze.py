"""Experts in corridors of several lengths."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from headway.core.errors import UserError
from headway.core.training import Passed
from headway.rl.data.base import DrawingOptions, TrajectoryData
from headway.rl.data.playing import play_episode
from headway.rl.data.trajectory import Trajectory
from headway.rl.environments import T_MAZE, T_MAZES, TMaze, read_spaces, right_way
from headway.rl.spaces import Spaces


class TMazeData(TrajectoryData):
    """Episodes of a script in ``headway/TMaze-v0`` that remembers the cue, or guesses.

    Args:
        lengths: Steps of the corridors; each is walked equally often.
        guessing: Share of the episodes that turn at random.
        episodes: How many.
        data_seed: Of cues and guesses.
        batch_size: Episodes of a batch.
        context_length: Steps of a stretch; the longest corridor if None.
        **drawing: As of every ``TrajectoryData``: number, sampling, top_fraction, val, split_seed, and of
            every ``DataModule``.
    """

    def __init__(
        self,
        *,
        lengths: Sequence[int] = (10, 20, 40, 80),
        guessing: float = 0.0,
        episodes: int = 2000,
        data_seed: int = 0,
        batch_size: int = 32,
        context_length: int | None = None,
        **drawing: Passed[DrawingOptions],
    ) -> None:
        if not lengths:
            raise UserError("lengths is empty; name the steps of at least one corridor")
        super().__init__(
            batch_size=batch_size,
            context_length=context_length if context_length is not None else max(lengths),
            return_scale=1.0,
            **drawing,
        )
        if episodes < 2:
            raise UserError(f"episodes is {episodes}; at least 2 are needed")
        if not 0 <= guessing <= 1:
            raise UserError(f"guessing is {guessing}; it must lie between 0 and 1")
        self.lengths, self.guessing = tuple(lengths), guessing
        self.episodes, self.data_seed = episodes, data_seed

    @property
    def environment(self) -> str:
        """Name of the longest corridor, if it has one (``T_MAZES``); that of 20 steps otherwise."""
        longest = {"length": max(self.lengths)}
        return next((name for name, options in T_MAZES.items() if options == longest), T_MAZE)

    @property
    def given_spaces(self) -> Spaces:
        """Two numbers to see and three ways."""
        env = TMaze()
        return read_spaces(env.observation_space, env.action_space)

    def load(self) -> Sequence[Trajectory]:
        """Walks."""
        random = np.random.default_rng(self.data_seed)
        corridors = [TMaze(length=length) for length in self.lengths]
        return [
            _walk(corridors[number % len(corridors)], random, random.random() < self.guessing)
            for number in range(self.episodes)
        ]


def _walk(env: TMaze, random: np.random.Generator, guesses: bool) -> Trajectory:
    seed = int(random.integers(2**31))
    cue = float(random.choice([-1.0, 1.0])) if guesses else None

    def act(seen: Any) -> int:
        nonlocal cue
        cue = float(seen[0]) if cue is None else cue  # shown at the first step alone
        return int(right_way(seen, cue))

    return play_episode(env, act, seed=seed)
