"""Acting with a model of trajectories, in one or many environments at once."""

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headway.core.cache import CacheGroup
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.rl.layers.observations import Observations, each
from headway.rl.layers.streams import Streams
from headway.rl.models.model_policy import ModelPolicy

if TYPE_CHECKING:
    from headway.rl.models.trajectory import TrajectoryModel


@dataclass
class PolicyState:
    """What a policy remembers of each environment.

    Args:
        time: Steps of each episode that were seen so far, (B,).
        taken: The last actions, (B, *shape), or (B,).
        wanted: Return that is still to come, (B,).
        streams: Randomness of each environment.
        cache: What the model has computed of the present contexts; None if it must be made anew.
        tokens: Tokens of the last steps, the newest at ``filled - 1``, (B, R, tokens of a step, dim); None of
            a model that streams.
        filled: How many of the R steps are taken.
        memory: What a recurrent model has carried into the present segment, (B, M, dim).
    """

    time: NDArray[np.int64]
    taken: Tensor
    wanted: Tensor
    streams: Streams
    cache: CacheGroup | None
    tokens: Tensor | None
    filled: int = 0
    memory: Tensor | None = None


class SequencePolicy(ModelPolicy[PolicyState]):
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
        super().__init__(model, seed=seed)
        self.target_return = target_return

    def _act(
        self, state: PolicyState, seen: Observations, starts: NDArray[np.bool_], deterministic: bool
    ) -> Tensor:
        new = self._enter(state, seen)
        state.time = state.time + 1
        features = self._features(state, new)
        streams = None if deterministic else state.streams
        state.taken = self.model.actions.sample(features, streams)
        return state.taken

    def observe(self, state: PolicyState, reward: NDArray | float) -> None:
        """Takes the rewards of the last step off the return that is still to come."""
        gained = torch.as_tensor(np.atleast_1d(reward), dtype=torch.float32, device=self.device)
        state.wanted = state.wanted - gained

    def instead(self, state: PolicyState, actions: NDArray) -> None:
        """Remembers what was done: the next step reads it."""
        state.taken = torch.as_tensor(actions).to(state.taken).reshape(state.taken.shape)

    def fork(self, state: PolicyState, rows: NDArray[np.int64]) -> PolicyState:
        """Returns a copy of a state with the given rows in the given order, which goes its own way."""
        chosen = torch.as_tensor(np.asarray(rows), device=self.device)
        cache = copy.deepcopy(state.cache)
        if cache is not None:
            cache.select(chosen)
        return replace(
            state,
            time=state.time[np.asarray(rows)],
            taken=state.taken[chosen],
            wanted=state.wanted[chosen],
            streams=state.streams.select(chosen.tolist()),
            cache=cache,
            tokens=None if state.tokens is None else state.tokens[chosen],
            memory=None if state.memory is None else state.memory[chosen],
        )

    def _begin(self, batch: int) -> PolicyState:
        model = self.model
        tokens = None
        if not model.streaming:
            # With room for as many steps again, the past moves once in a context and not at each step.
            shape = (batch, 2 * model.context_length, model.tokens_per_step, model.dim)
            tokens = torch.zeros(
                shape, dtype=model.timestep_embedding.weight.dtype, device=self.device
            )
        return PolicyState(
            time=np.zeros(batch, dtype=np.int64),
            taken=model.actions.blank(batch),
            wanted=torch.zeros(batch, device=self.device),
            streams=Streams.drawn(self.seed, batch, self.device),
            cache=model.init_cache(batch),
            tokens=tokens,
        )

    def _restart(
        self, state: PolicyState, starts: NDArray[np.bool_], seeds: NDArray[np.int64] | None
    ) -> None:
        if not starts.any():
            return
        state.streams.restart(starts, seeds)
        rows = torch.as_tensor(starts, device=self.device)
        target = torch.as_tensor(self.target_return, dtype=torch.float32, device=self.device)
        state.wanted = torch.where(rows, target, state.wanted)
        state.time = np.where(starts, 0, state.time)
        if state.cache is not None:
            state.cache.reset(None if starts.all() else rows)

    def _enter(self, state: PolicyState, seen: Observations) -> Tensor:
        """Returns the token of the last action, if there are such, and those before the next, (B, P, dim)."""
        model = self.model
        time = torch.as_tensor(state.time, device=self.device)[:, None]
        # Two steps of which little is read: of the last its action, of the present what is in front of it.
        tokens = model.embed(
            each(lambda x: x[:, None].expand(-1, 2, *x.shape[1:]), seen),
            torch.stack([state.taken, model.actions.blank(len(time))], dim=1),
            state.wanted[:, None].expand(-1, 2),
            torch.cat([time - 1, time], dim=1),
        )
        if not model.reads_actions:
            return model.enter(tokens[:, 1])
        return model.enter(tokens.flatten(1, 2)[:, model.tokens_per_step - 1 : -1])

    def _features(self, state: PolicyState, new: Tensor) -> Tensor:
        """Returns what is known before the next action, (B, dim)."""
        if state.tokens is not None:
            self._remember(state, new)
        if state.tokens is not None and (state.time > self.model.context_length).any():
            # What the cache holds has seen steps that are now out of sight.
            state.cache = None
            return self._window(state, state.tokens)
        if state.cache is None:
            assert state.tokens is not None
            state.cache = self.model.init_cache(len(state.time))
            return self._window(state, state.tokens)
        return self._step(state, state.cache, new)

    def _remember(self, state: PolicyState, new: Tensor) -> None:
        """Adds the last action and the present to the tokens of the last steps."""
        assert state.tokens is not None
        if state.filled == state.tokens.shape[1]:
            kept = self.model.context_length
            state.tokens[:, :kept] = state.tokens[:, -kept:].clone()
            state.filled = kept
        before = self.model.tokens_before_action
        if state.filled and self.model.reads_actions:
            state.tokens[:, state.filled - 1, -1] = new[:, 0]
        state.tokens[:, state.filled, :before] = new[:, -before:]
        state.filled += 1

    def _window(self, state: PolicyState, tokens: Tensor) -> Tensor:
        """Runs all contexts through the model, and fills the cache with them if there is one."""
        model = self.model
        steps = np.minimum(state.time, model.context_length)
        longest = int(steps.max())
        tokens = tokens[:, state.filled - longest : state.filled]
        if (steps < longest).any():
            # Real steps to the left, as lengths and caches want them.
            place = torch.arange(longest) + torch.as_tensor(longest - steps)[:, None]
            place = place.clamp_max(longest - 1).to(self.device)
            tokens = tokens[torch.arange(len(place), device=self.device)[:, None], place]
        # The action of the last step is not chosen yet.
        unknown = model.tokens_per_step - model.tokens_before_action
        tokens = tokens.flatten(1, 2)[:, : longest * model.tokens_per_step - unknown]
        return self._last(tokens, steps * model.tokens_per_step - unknown, state.cache)

    def _step(self, state: PolicyState, cache: CacheGroup, new: Tensor) -> Tensor:
        """Adds the last action and the new return and observation to the cache."""
        first = state.time == 1
        if not self.model.reads_actions:
            return self._last(new, np.full(len(first), new.shape[1]), cache)
        if first.all():
            return self._last(new[:, 1:], np.full(len(first), new.shape[1] - 1), cache)
        if first.any():
            # An episode that begins has no last action: its tokens move to the left.
            rows = torch.as_tensor(first, device=self.device)
            new = torch.where(rows[:, None, None], new.roll(-1, dims=1), new)
        return self._last(new, new.shape[1] - first.astype(np.int64), cache)

    def _last(self, tokens: Tensor, lengths: NDArray[np.int64], cache: CacheGroup | None) -> Tensor:
        layout = None
        # Without padding there is nothing to mask.
        if (lengths < tokens.shape[1]).any():
            layout = Layout(lengths=torch.as_tensor(lengths, device=self.device))
        return self.model.decoder.last(tokens, layout, cache=cache)
