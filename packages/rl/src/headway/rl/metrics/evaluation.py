"""Episodes of a policy in its environment."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces as gym
from gymnasium.vector import VectorEnv
from gymnasium.wrappers.vector import FlattenObservation

from headway.core.errors import UserError
from headway.core.module import evaluating
from headway.rl.environments import read_spaces
from headway.rl.environments.playing import Player
from headway.rl.models import ActingModel, DecisionModel, Policy
from headway.rl.models.base import form
from headway.rl.spaces import Box, Dict, Discrete, Space, Spaces


class Episode(NamedTuple):
    """One episode.

    Args:
        number: Its number; its seed is that of the evaluation plus this.
        target: Return that was asked for.
        total: Return that came about.
        steps: Its length.
        terminated: Whether it ended by itself; otherwise it was cut off.
    """

    number: int
    target: float
    total: float
    steps: int
    terminated: bool


def evaluate(
    player: ActingModel | Policy,
    envs: VectorEnv[Any, Any, Any],
    *,
    target: float = 0.0,
    episodes: int,
    seed: int = 0,
    deterministic: bool = True,
    frame: Callable[[], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Episode]:
    """Plays episodes side by side.

    Each environment plays a number of episodes that is fixed before, so short episodes are not counted
    more often than long ones; an episode depends on its own seed, in what is drawn as well, not on how many
    run beside it (of ``headway.rl.environments.make_vector``; environments that reset themselves choose their
    seeds). A policy with ``trials`` plays so many episodes as one chain: one after the other in the same
    environment, from the same seed.

    Args:
        player: A model, which is put into evaluation mode for the play, or any policy: a planner, a script.
        envs: The environments, in any mode of autoreset.
        target: Return to ask for; a policy has its own, and is only noted under this one.
        episodes: How many.
        seed: Of the first episode.
        deterministic: Whether the likeliest actions are taken or others drawn.
        frame: Called before each step, to draw the environments.
        progress: Called with the number of episodes that ended in a step.

    Raises:
        UserError: If the environment is not the one that the model was trained for.
    """
    if episodes < 1:
        raise UserError(f"episodes is {episodes}; at least 1 is needed")
    if isinstance(player, ActingModel):
        complete(player, envs)
        with evaluating(player):
            policy = player.policy(target_return=target, seed=seed)
            return _play(policy, envs, target, episodes, seed, deterministic, frame, progress)
    return _play(player, envs, target, episodes, seed, deterministic, frame, progress)


def _play(
    policy: Policy,
    envs: VectorEnv[Any, Any, Any],
    target: float,
    episodes: int,
    seed: int,
    deterministic: bool,
    frame: Callable[[], None] | None,
    progress: Callable[[int], None] | None,
) -> list[Episode]:
    if policy.spaces is not None:
        envs = fitting(envs, policy.spaces)
    player, number = Player(envs), envs.num_envs
    trials = getattr(policy, "trials", 1)
    current = trials * np.arange(number)  # the episode that each environment plays
    seeds = seed + current // trials
    observation = player.reset(seeds)
    state, start = None, np.ones(number, bool)
    totals, steps = np.zeros(number), np.zeros(number, int)
    found: list[Episode] = []
    while len(found) < episodes:
        if frame is not None:
            frame()
        actions, state = policy.predict(observation, state, start, deterministic, seeds=seeds)
        done = player.step(actions)
        policy.observe(state, done.rewards)
        totals += done.rewards
        steps += done.counted
        observation, start = done.observation, done.start
        ended = done.terminated | done.truncated
        rows = np.flatnonzero(ended)
        if not len(rows):
            continue
        new = [
            Episode(
                int(current[i]), target, float(totals[i]), int(steps[i]), bool(done.terminated[i])
            )
            for i in rows
            if current[i] < episodes
        ]
        found += new
        if progress is not None:
            progress(len(new))
        last = (current[rows] + 1) % trials == 0
        current[rows] += np.where(last, 1 + trials * (number - 1), 1)
        seeds = seed + current // trials
        totals[rows], steps[rows] = 0.0, 0
        again = player.restart(ended, seeds)
        observation = observation if again is None else again
    return sorted(found)


def complete(model: ActingModel, envs: VectorEnv[Any, Any, Any]) -> None:
    """Gives a model that knows only the sizes of its actions their bounds and starts."""
    if not isinstance(model, DecisionModel):
        return
    own = model.spaces
    there = read_spaces(envs.single_observation_space, envs.single_action_space).action
    if not model.has_spaces and form(own.action) == form(there):
        model.set_spaces(Spaces(observation=own.observation, action=there).to_json())


def fitting(envs: VectorEnv[Any, Any, Any], spaces: Spaces) -> VectorEnv[Any, Any, Any]:
    """Returns environments as a policy sees them.

    A policy of plain numbers sees observations by name, and choices, as one vector (``FlattenObservation``).

    Raises:
        UserError: If their spaces are not those of the policy.
    """
    shown = envs.single_observation_space
    vector = isinstance(spaces.observation, Box) and len(spaces.observation.shape) == 1
    if vector and not isinstance(shown, gym.Box) and shown.is_np_flattenable:
        envs = FlattenObservation(envs)
    found = read_spaces(envs.single_observation_space, envs.single_action_space)
    own, there = spaces.action, found.action
    starts = [getattr(one, "start", None) for one in (own, there)]
    if starts[0] != starts[1] or (form(own) != form(there) and not _has_fewer(own, there)):
        raise UserError(
            f"the environment has {there} to do, the model was trained on {own}; it is another environment"
        )
    if form(spaces.observation) != form(found.observation) and not _covers(found, spaces):
        raise UserError(
            f"the environment has {found.observation} to see, the model was trained on "
            f"{spaces.observation}; it is another environment"
        )
    return envs


def _has_fewer(own: Space, there: Space) -> bool:
    """Whether a policy has fewer choices: data may never have used the last of them."""
    return isinstance(own, Discrete) and isinstance(there, Discrete) and own.n < there.n


def _covers(found: Spaces, spaces: Spaces) -> bool:
    """Whether an environment shows all named parts that a policy looks at, and perhaps others."""
    seen, own = found.observation, spaces.observation
    if not isinstance(seen, Dict) or not isinstance(own, Dict):
        return False
    return all(
        name in seen.parts and form(seen.parts[name]) == form(own.parts[name]) for name in own.parts
    )


def summarise(episodes: Sequence[Episode]) -> dict[str, float]:
    """Returns mean and deviation of the returns, and the mean length."""
    totals = np.array([one.total for one in episodes])
    return {
        "episodes": len(episodes),
        "return_mean": float(totals.mean()),
        "return_std": float(totals.std()),
        "return_least": float(totals.min()),
        "return_most": float(totals.max()),
        "steps_mean": float(np.mean([one.steps for one in episodes])),
    }
