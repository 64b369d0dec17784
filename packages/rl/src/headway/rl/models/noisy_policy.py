"""A policy that tries something else now and then."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import UserError
from headway.rl.layers.observations import rows_of
from headway.rl.layers.streams import Streams
from headway.rl.models.model_policy import ModelPolicy
from headway.rl.models.policy import Policy
from headway.rl.models.scripted_policy import bounds_of, drawn_actions
from headway.rl.spaces import Box, Dict


@dataclass
class NoisyState:
    """State of the policy below, and the randomness of each environment."""

    inner: Any
    streams: Streams


class NoisyPolicy:
    """Adds noise to the actions of another policy; of choices, takes a random one now and then.

    Args:
        policy: The other one.
        noise: Deviation of what is added, in halves of the range of an action (or in units, without bounds);
            of choices, how often one is drawn evenly.
        seed: Of the noise, where ``predict`` is given no seeds.
    """

    def __init__(self, policy: Policy, *, noise: float, seed: int = 0) -> None:
        if policy.spaces is None or isinstance(policy.spaces.action, Dict):
            raise UserError("noise needs a policy that knows its actions, one array of them")
        if not 0 <= noise < np.inf:
            raise UserError(f"noise is {noise}; it must be at least 0")
        self.policy, self.noise, self.seed = policy, noise, seed
        self.spaces, self._action = policy.spaces, policy.spaces.action

    def predict(
        self,
        observation: Any,
        state: NoisyState | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
        *,
        seeds: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[Any], NoisyState]:
        """Returns noisy actions, whatever ``deterministic`` says to the other policy; see ``Policy``."""
        inner = None if state is None else state.inner
        actions, inner = self.policy.predict(
            observation, inner, episode_start, deterministic, seeds=seeds
        )
        if state is None:
            number = rows_of(observation)
            state, episode_start = (
                NoisyState(inner, Streams.drawn(self.seed, number)),
                np.ones(number, bool),
            )
        state.inner = inner
        if episode_start is not None:
            # Another stream than that of the policy below, which has the same seeds.
            own = None if seeds is None else seeds ^ (1 << 40)
            state.streams.restart(episode_start, own)
        changed = self._changed(actions, state.streams)
        if isinstance(self.policy, ModelPolicy):
            self.policy.instead(inner, changed)
        return changed, state

    def observe(self, state: NoisyState, reward: NDArray[Any] | float) -> None:
        """Tells the other policy."""
        self.policy.observe(state.inner, reward)

    def fork(self, state: NoisyState, rows: NDArray[np.int64]) -> NoisyState:
        """Returns a copy that draws as those rows would."""
        streams = state.streams.select(list(map(int, rows)))
        return NoisyState(self.policy.fork(state.inner, rows), streams)

    def _changed(self, actions: NDArray[Any], streams: Streams) -> NDArray[Any]:
        space = self._action
        if not isinstance(space, Box):
            drawn = drawn_actions(space, streams)
            other = streams.uniform(1).numpy()[:, 0] < self.noise
            return np.where(other.reshape(-1, *[1] * (drawn.ndim - 1)), drawn, actions)
        low, high = bounds_of(space)
        bounded = np.isfinite(low) & np.isfinite(high)
        half = np.where(bounded, (np.where(bounded, high, 0) - np.where(bounded, low, 0)) / 2, 1.0)
        noise = self.noise * half * streams.normal(space.size).double().numpy()
        changed = np.clip(actions.reshape(-1, space.size) + noise, low, high)
        return changed.reshape(actions.shape).astype(actions.dtype)
