"""Acting with a model of trajectories, in one or many environments at once."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headway.core.cache import CacheGroup
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.rl.layers.observations import Observations, each
from headway.rl.layers.streams import Streams
from headway.rl.models.seeing import as_batch
from headway.rl.spaces import Spaces

if TYPE_CHECKING:
    from headway.rl.models.trajectory import TrajectoryModel


@dataclass
class PolicyState:
    """What a policy remembers of each environment; the last steps stand on the right.

    Args:
        observations: (B, K, *shape), or several such by name.
        actions: (B, K, *shape), or (B, K).
        returns_to_go: (B, K).
        timesteps: (B, K).
        steps: How many of the K steps are real, (B,).
        time: Timestep of the next step, (B,).
        wanted: Return that is still to come, (B,).
        streams: Randomness of each environment.
        cache: What the model has computed of the present contexts; None if it must be made anew.
    """

    observations: Observations
    actions: Tensor
    returns_to_go: Tensor
    timesteps: Tensor
    steps: Tensor
    time: Tensor
    wanted: Tensor
    streams: Streams
    cache: CacheGroup | None


class SequencePolicy:
    """Chooses actions so that the return asked for comes about.

    As long as episodes are shorter than the context, a step costs the new tokens alone: the rest is in
    the cache, each environment at its own length. When a context begins to slide, its keys would still
    know steps that are out of sight, so the window is computed anew: the answer is always that of the
    full pass. A ``streaming`` model never slides.

    Args:
        model: In evaluation mode.
        target_return: Return to ask for, one for all environments or one for each.
        seed: Of the actions that are drawn, where ``predict`` is given no seeds.
    """

    def __init__(
        self,
        model: "TrajectoryModel",
        *,
        target_return: float | NDArray[np.floating] = 0.0,
        seed: int = 0,
    ) -> None:
        if not np.isfinite(target_return).all():
            raise UserError(f"the return that is asked for is {target_return}; it must be finite")
        self.model = model
        self.target_return = target_return
        self.seed = seed
        self.device = next(model.parameters()).device

    @property
    def spaces(self) -> Spaces:
        """What the model sees and does."""
        return self.model.spaces

    @torch.no_grad()
    def predict(
        self,
        observation: Any,
        state: PolicyState | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
        *,
        seeds: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray, PolicyState]:
        """Returns the actions and what must be given back at the next step; see ``Policy``."""
        seen, single = as_batch(observation, self.spaces.observation, self.device)
        batch = len(seen if isinstance(seen, Tensor) else next(iter(seen.values())))
        if state is None:
            state = self._begin(batch)
            episode_start = np.ones(batch, dtype=bool)
        if episode_start is not None:
            self._restart(state, np.atleast_1d(episode_start), seeds)
        slides = not self.model.streaming and bool((state.steps == self.model.context_length).any())
        before = state.actions[:, -1:].clone(), state.timesteps[:, -1:].clone()
        self._append(state, seen)
        if slides:
            state.cache = None
            features = self._window(state, None)
        elif state.cache is None:
            state.cache = self.model.init_cache(batch)
            features = self._window(state, state.cache)
        else:
            features = self._step(state, state.cache, before)
        chosen = self.model.actions.sample(features, None if deterministic else state.streams)
        state.actions[:, -1] = chosen
        out = chosen.cpu().numpy()
        return (out[0] if single else out), state

    def observe(self, state: PolicyState, reward: NDArray | float) -> None:
        """Takes the rewards of the last step off the return that is still to come."""
        gained = torch.as_tensor(np.atleast_1d(reward), dtype=torch.float32, device=self.device)
        state.wanted = state.wanted - gained

    def fork(self, state: PolicyState, rows: NDArray[np.int64]) -> PolicyState:
        """Returns a copy of a state with the given rows in the given order, which goes its own way."""
        chosen = torch.as_tensor(np.asarray(rows), device=self.device)
        cache = copy.deepcopy(state.cache)
        if cache is not None:
            cache.select(chosen)
        parts = ("actions", "returns_to_go", "timesteps", "steps", "time", "wanted")
        return replace(
            state,
            observations=each(lambda x: x[chosen], state.observations),
            streams=state.streams.select(chosen.tolist()),
            cache=cache,
            **{name: getattr(state, name)[chosen] for name in parts},
        )

    def _begin(self, batch: int) -> PolicyState:
        model, steps = self.model, self.model.context_length
        zeros = torch.zeros(batch, steps, device=self.device)
        return PolicyState(
            observations=model.observation_embedding.blank(batch, steps),
            actions=model.actions.blank(batch, steps),
            returns_to_go=zeros,
            timesteps=zeros.long(),
            steps=torch.zeros(batch, dtype=torch.int64, device=self.device),
            time=torch.zeros(batch, dtype=torch.int64, device=self.device),
            wanted=torch.zeros(batch, device=self.device),
            streams=Streams(
                [int(one) for one in np.random.SeedSequence(self.seed).generate_state(batch)],
                self.device,
            ),
            cache=model.init_cache(batch),
        )

    def _restart(
        self, state: PolicyState, starts: NDArray[np.bool_], seeds: NDArray[np.int64] | None
    ) -> None:
        if not starts.any():
            return
        if seeds is not None:
            for row in np.flatnonzero(starts):
                state.streams.restart(int(row), int(seeds[row]))
        rows = torch.as_tensor(starts, device=self.device)
        target = torch.as_tensor(self.target_return, dtype=torch.float32, device=self.device)
        state.wanted = torch.where(rows, target, state.wanted)
        state.steps[rows] = 0
        state.time[rows] = 0
        if state.cache is not None:
            state.cache.reset(rows)

    def _append(self, state: PolicyState, seen: Observations) -> None:
        blank = self.model.actions.blank(len(state.time))
        state.observations = _push(state.observations, seen)
        state.actions = _push(state.actions, blank)
        state.returns_to_go = _push(state.returns_to_go, state.wanted)
        state.timesteps = _push(state.timesteps, state.time)
        state.steps = (state.steps + 1).clamp_max(self.model.context_length)
        state.time = state.time + 1

    def _window(self, state: PolicyState, cache: CacheGroup | None) -> Tensor:
        """Runs all contexts through the model, and fills a cache with them if there is one."""
        model, longest = self.model, int(state.steps.max())
        # Real steps to the left, as lengths and caches want them.
        place = torch.arange(longest, device=self.device) - state.steps[:, None]
        rows = torch.arange(len(place), device=self.device)[:, None]
        columns = place % model.context_length
        inputs = (state.observations, state.actions, state.returns_to_go, state.timesteps)
        steps = (each(lambda x: x[rows, columns], one) for one in inputs)
        tokens = model.embed(*steps).flatten(1, 2)
        # The action of the last step is not chosen yet.
        unknown = model.tokens_per_step - model.tokens_before_action
        lengths = state.steps * model.tokens_per_step - unknown
        return self._last(tokens[:, : tokens.shape[1] - unknown], lengths, cache)

    def _step(self, state: PolicyState, cache: CacheGroup, before: tuple[Tensor, Tensor]) -> Tensor:
        """Adds the last action and the new return and observation to the cache."""
        model = self.model
        seen = each(lambda x: x[:, -1:], state.observations)
        new = model.embed(
            seen, state.actions[:, -1:], state.returns_to_go[:, -1:], state.timesteps[:, -1:]
        )[:, 0, : model.tokens_before_action]
        if not model.reads_actions:
            return self._last(new, torch.full_like(state.time, model.tokens_per_step), cache)
        taken, time = before
        past = model.embed(seen, taken, state.returns_to_go[:, -1:], time)
        tokens = torch.cat([past[:, 0, -1:], new], dim=1)
        # An episode that begins has no last action: its tokens move to the left.
        first = state.time == 1
        moved = tokens.roll(-1, dims=1)
        tokens = torch.where(first[:, None, None], moved, tokens)
        return self._last(tokens, model.tokens_per_step - first.long(), cache)

    def _last(self, tokens: Tensor, lengths: Tensor, cache: CacheGroup | None) -> Tensor:
        # Without padding there is nothing to mask.
        full = cache is None and bool((lengths == tokens.shape[1]).all())
        x = self.model.decode(tokens, None if full else Layout(lengths=lengths), cache)
        rows = torch.arange(len(lengths), device=self.device)
        return x[rows, lengths - 1]


def _push(past: Any, new: Any) -> Any:
    """Returns the last steps with a new one on the right."""
    if isinstance(past, Mapping):
        return {name: _push(past[name], new[name]) for name in past}
    return torch.cat([past[:, 1:], new[:, None].to(past.dtype)], dim=1)
