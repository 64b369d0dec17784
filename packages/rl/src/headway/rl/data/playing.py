"""Trajectories of a script that plays."""

import copy
from collections.abc import Callable
from typing import Any

import gymnasium

from headway.rl.data.collecting import Recording, trajectory
from headway.rl.data.trajectory import Trajectory
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
    one = Recording(seed, copy.deepcopy(observation))
    while not (one.terminated or one.truncated):
        one.actions.append(act(named(one.observations[-1])))
        observation, reward, one.terminated, one.truncated, _ = env.step(one.actions[-1])
        # Some environments show one array and change it in place.
        one.observations.append(copy.deepcopy(observation))
        one.rewards.append(float(reward))
    return trajectory(one, spaces)
