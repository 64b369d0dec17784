"""Episodes of a policy, as Minari keeps them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import iterate

from headway.core.errors import UserError, one_line
from headway.rl.data.fitting import fitting_actions, fitting_observations
from headway.rl.data.trajectory import Trajectory, checked
from headway.rl.environments import named
from headway.rl.environments.playing import Player
from headway.rl.models import Policy
from headway.rl.spaces import Spaces


class Recording:
    """One episode as it is played: raw observations, actions and rewards, one after the other."""

    def __init__(self, seed: int, observation: Any) -> None:
        self.seed = seed
        self.observations = [observation]
        self.actions: list[Any] = []
        self.rewards: list[float] = []
        self.terminated = self.truncated = False

    @property
    def total(self) -> float:
        """The sum of the rewards."""
        return float(np.sum(self.rewards))


def record(
    policy: Policy,
    envs: VectorEnv[Any, Any, Any],
    *,
    episodes: int,
    seed: int = 0,
    deterministic: bool = True,
    progress: Callable[[int], None] | None = None,
) -> list[Recording]:
    """Plays episodes and keeps what was seen, done and paid.

    Args:
        policy: Who plays.
        envs: Of ``headway.rl.environments.make_vector``: they do not reset themselves.
        episodes: How many.
        seed: Of the first; the others follow.
        deterministic: Whether the likeliest actions are taken or others drawn.
        progress: Called with the number of episodes that ended in a step.
    """
    player, number = Player(envs), envs.num_envs
    current = np.arange(number)
    observation = player.reset(seed + current)
    playing = [
        Recording(seed + int(row), one) for row, one in zip(current, player.rows(), strict=True)
    ]
    state, start = None, np.ones(number, bool)
    found: list[Recording] = []
    while len(found) < episodes:
        actions, state = policy.predict(
            observation, state, start, deterministic, seeds=seed + current
        )
        done = player.step(actions)
        policy.observe(state, done.rewards)
        taken = iterate(envs.action_space, player.taken)
        for row, (action, seen) in enumerate(zip(taken, player.rows(), strict=True)):
            one = playing[row]
            one.actions.append(np.asarray(action))
            one.rewards.append(float(done.rewards[row]))
            one.observations.append(seen)
            one.terminated = bool(done.terminated[row])
            one.truncated = bool(done.truncated[row])
        observation, start = done.observation, done.start
        ended = done.terminated | done.truncated
        if not ended.any():
            continue
        new = [playing[row] for row in np.flatnonzero(ended) if current[row] < episodes]
        found += new
        if progress is not None:
            progress(len(new))
        current[ended] += number
        again = player.restart(ended, seed + current)
        assert again is not None
        observation = again
        for row, seen in enumerate(player.rows()):
            if ended[row]:
                playing[row] = Recording(seed + int(current[row]), seen)
    return sorted(found, key=lambda one: one.seed)


def trajectory(recording: Recording, spaces: Spaces) -> Trajectory:
    """Returns an episode that was recorded as one to learn from.

    Args:
        recording: The episode.
        spaces: Those of the environment.
    """
    name = f"episode of seed {recording.seed}"
    seen = columns_of([named(one) for one in recording.observations])
    return checked(
        name,
        observations=fitting_observations(name, seen, spaces.observation),
        actions=fitting_actions(name, np.stack(recording.actions), spaces.action),
        rewards=np.array(recording.rewards),
        terminated=recording.terminated,
    )


def write_minari(
    name: str, recordings: list[Recording], environment: str, *, description: str, author: str
) -> None:
    """Writes episodes as a Minari data set.

    Args:
        name: Such as ``headway/cartpole/random-v0``.
        recordings: The episodes.
        environment: Name of the environment.
        description: What was played, and how.
        author: Who, or what, has played.

    Raises:
        UserError: If minari refuses the name or the episodes.
    """
    import minari
    from minari.data_collector import EpisodeBuffer

    buffers = [
        EpisodeBuffer(
            id=number,
            seed=one.seed,
            observations=columns_of(one.observations),
            actions=columns_of(one.actions),
            rewards=one.rewards,
            terminations=_ends(one, one.terminated),
            truncations=_ends(one, one.truncated),
        )
        for number, one in enumerate(recordings)
    ]
    try:
        minari.create_dataset_from_buffers(
            name,
            buffers,
            env=environment,
            eval_env=environment,
            algorithm_name=author,
            description=description,
        )
    except Exception as error:
        # Of names and episodes that it does not take, minari raises errors of several kinds.
        raise UserError(f"minari does not write {name} ({one_line(error)[:200]})") from None


def _ends(one: Recording, ended: bool) -> Any:
    ends = np.zeros(len(one.rewards), bool)
    ends[-1] = ended
    return ends


def columns_of(rows: list[Any]) -> Any:
    """Returns rows as columns; nested ones stay nested."""
    first = rows[0]
    if isinstance(first, dict):
        return {name: columns_of([row[name] for row in rows]) for name in first}
    if isinstance(first, tuple):
        return tuple(columns_of([row[place] for row in rows]) for place in range(len(first)))
    return np.stack([np.asarray(row) for row in rows])
