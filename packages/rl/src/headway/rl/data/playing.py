"""Trajectories of a script that plays."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from headway.rl.data.fitting import fitting_actions, fitting_observations
from headway.rl.data.trajectory import Trajectory, checked
from headway.rl.environments import named, read_spaces


def play_episode(
    env: gymnasium.Env[Any, Any], act: Callable[[Any], Any], *, seed: int
) -> Trajectory:
    """Plays one episode.

    Args:
        env: The environment.
        act: Returns the action for an observation, which has the flat names of ``read_spaces``.
        seed: Of the reset.
    """
    spaces = read_spaces(env.observation_space, env.action_space)
    observation, _ = env.reset(seed=seed)
    seen: list[Any] = [named(observation)]
    taken, paid = [], []
    terminated = truncated = False
    while not (terminated or truncated):
        taken.append(act(seen[-1]))
        observation, reward, terminated, truncated, _ = env.step(taken[-1])
        # Some environments show one array and change it in place.
        seen.append(_copied(named(observation)))
        paid.append(reward)
    name = f"episode of seed {seed}"
    rows: Any = np.stack(seen) if isinstance(seen[0], np.ndarray) else _columns(seen)
    return checked(
        name,
        observations=fitting_observations(name, rows, spaces.observation),
        actions=fitting_actions(name, np.array(taken), spaces.action),
        rewards=np.array(paid),
        terminated=terminated,
    )


def _copied(seen: Any) -> Any:
    if isinstance(seen, np.ndarray):
        return seen.copy()
    return {name: value.copy() for name, value in seen.items()}


def _columns(seen: list[Any]) -> dict[str, Any]:
    return {name: np.stack([one[name] for one in seen]) for name in seen[0]}
