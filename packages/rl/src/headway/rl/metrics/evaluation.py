"""Episodes of a policy in its environment."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from headway.core.errors import UserError
from headway.core.module import evaluating
from headway.rl.environments import action_size, observation_size
from headway.rl.models import Policy, TrajectoryModel


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
    model: TrajectoryModel,
    envs: VectorEnv[Any, Any, Any],
    *,
    target: float,
    episodes: int,
    seed: int = 0,
    deterministic: bool = True,
    frame: Callable[[], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Episode]:
    """Plays episodes side by side.

    Each environment plays a number of episodes that is fixed before, so short episodes are not counted
    more often than long ones; an episode depends on its own seed, not on how many run beside it.

    Args:
        model: The model; it is put into evaluation mode for the play.
        envs: Without automatic resets (``headway.rl.environments.make_vector``).
        target: Return to ask for.
        episodes: How many.
        seed: Of the first episode.
        deterministic: Whether the likeliest actions are taken or others drawn.
        frame: Called before each step, to draw the environments.
        progress: Called with the number of episodes that ended in a step.

    Raises:
        UserError: If the environment is not the one that the model was trained for.
    """
    check_fits(model, envs)
    with evaluating(model):
        policy = Policy(model, target_return=target, seed=seed)
        number = envs.num_envs
        current = np.arange(number)  # the episode that each environment plays
        reset: Any = envs.reset  # the base class does not say that seeds may be a list
        observation, _ = reset(seed=[seed + int(one) for one in current])
        state, start = None, None
        totals, steps = np.zeros(number), np.zeros(number, int)
        found: list[Episode] = []
        while len(found) < episodes:
            if frame is not None:
                frame()
            actions, state = policy.predict(observation, state, start, deterministic)
            observation, rewards, terminated, truncated, _ = envs.step(_legal(envs, actions))
            policy.observe(state, rewards)
            totals += rewards
            steps += 1
            start = np.logical_or(terminated, truncated)
            ended = np.flatnonzero(start)
            if not len(ended):
                continue
            new = [
                Episode(
                    int(current[i]), target, float(totals[i]), int(steps[i]), bool(terminated[i])
                )
                for i in ended
                if current[i] < episodes
            ]
            found += new
            if progress is not None:
                progress(len(new))
            current[ended] += number
            totals[ended], steps[ended] = 0.0, 0
            observation, _ = reset(
                seed=[seed + int(one) for one in current], options={"reset_mask": start}
            )
        return sorted(found)


def check_fits(model: TrajectoryModel, envs: VectorEnv[Any, Any, Any]) -> None:
    """Raises if the spaces of an environment are not those of the model."""
    kind, size = action_size(envs.single_action_space)
    shown = observation_size(envs.single_observation_space)
    own = model.actions.kind, model.action_dim, model.observation_dim
    # Data may never have used the last of several discrete actions.
    fits = own[1] == size or (kind == "discrete" and own[1] < size)
    if own[0] != kind or not fits or own[2] != shown:
        raise UserError(
            f"the environment has {shown} numbers to see and {size} {kind} actions, the model was "
            f"trained on {own[2]} and {own[1]} {own[0]} ones; it is another environment"
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


def _legal(envs: VectorEnv[Any, Any, Any], actions: NDArray) -> NDArray:
    """Returns actions as the environment counts them: within its bounds, choices from its first one."""
    space = envs.single_action_space
    if isinstance(space, spaces.Box):
        return np.clip(actions, space.low, space.high)
    return actions + space.start if isinstance(space, spaces.Discrete) else actions
