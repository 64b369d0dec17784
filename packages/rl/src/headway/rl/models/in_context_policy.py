"""Acting by what was tried in the same task before."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headway.core.cache import CacheGroup
from headway.core.layout import Layout
from headway.rl.layers.observations import Observations, each
from headway.rl.layers.streams import Streams
from headway.rl.models.model_policy import ModelPolicy
from headway.rl.models.seeing import push

if TYPE_CHECKING:
    from headway.rl.models.pretrained_transformer import DecisionPretrainedTransformer


@dataclass
class Tried:
    """What was tried in each task so far; the last transitions stand on the right.

    Args:
        observations: (B, H, *shape), or several such by name.
        actions: (B, H, *shape), or (B, H).
        rewards: (B, H).
        following: As observations: what was seen after each action.
        count: How many of the H transitions are real, (B,).
        seen: The last observation, (B, 1, *shape).
        streams: Randomness of each task.
        cache: What was computed of the query ``seen`` and the transitions; None if it must be made anew.
    """

    observations: Observations
    actions: Tensor
    rewards: Tensor
    following: Observations
    count: Tensor
    seen: Observations
    streams: Streams
    cache: CacheGroup | None


class InContextPolicy(ModelPolicy[Tried]):
    """Draws the action that is best for what is seen, by what the model has read of the task.

    An episode is a task: its transitions are read at every step, and forgotten when another begins. While the
    observation stays what it was, a step costs one token; a new one is another query, which all is read for
    anew.

    Args:
        model: In evaluation mode.
        seed: Of the actions that are drawn, where ``predict`` is given no seeds.
    """

    model: "DecisionPretrainedTransformer"

    def _act(
        self, state: Tried, seen: Observations, starts: NDArray[np.bool_], deterministic: bool
    ) -> Tensor:
        self._add(state, each(lambda x: x[:, None], seen))
        rows = torch.as_tensor(starts, device=self.device)
        # What an episode was before is not read any more.
        state.count[rows] = 0
        features = self._read(state, rows)
        chosen = self.model.actions.sample(features, None if deterministic else state.streams)
        state.actions[:, -1] = chosen
        return chosen

    def observe(self, state: Tried, reward: NDArray[Any] | float) -> None:
        """Notes the rewards of the last step."""
        gained = torch.as_tensor(np.atleast_1d(reward), dtype=torch.float32, device=self.device)
        state.rewards[:, -1] = gained

    def fork(self, state: Tried, rows: NDArray[np.int64]) -> Tried:
        """Returns a copy of a state with the given rows in the given order, which goes its own way."""
        chosen = torch.as_tensor(np.asarray(rows), device=self.device)
        cache = copy.deepcopy(state.cache)
        if cache is not None:
            cache.select(chosen)
        names = ("observations", "actions", "rewards", "following", "count", "seen")
        parts = {name: each(lambda x: x[chosen], getattr(state, name)) for name in names}
        return replace(state, **parts, streams=state.streams.select(chosen.tolist()), cache=cache)

    def _begin(self, batch: int) -> Tried:
        # One place more than is read: the last holds the step that has no reward yet.
        size = self.model.horizon + 1
        blank = self.model.observation_embedding.blank
        return Tried(
            observations=blank(batch, size),
            actions=self.model.actions.blank(batch, size),
            rewards=torch.zeros(batch, size, device=self.device),
            following=blank(batch, size),
            count=torch.zeros(batch, dtype=torch.int64, device=self.device),
            seen=blank(batch, 1),
            streams=Streams.drawn(self.seed, batch, self.device),
            cache=None,
        )

    def _restart(
        self, state: Tried, starts: NDArray[np.bool_], seeds: NDArray[np.int64] | None
    ) -> None:
        state.streams.restart(starts, seeds)

    def _add(self, state: Tried, seen: Observations) -> None:
        """Ends the last step with what it led to, and begins the next."""
        now = each(lambda x: x[:, 0], seen)
        set_last(state.following, now)
        if not _same(state.seen, seen):
            state.cache = None
        state.seen = seen
        state.observations = push(state.observations, now)
        state.following = push(state.following, now)
        state.actions = push(state.actions, self.model.actions.blank(len(state.count)))
        state.rewards = push(state.rewards, torch.zeros_like(state.rewards[:, 0]))
        if bool((state.count == self.model.horizon).any()):
            state.cache = None  # the oldest transition is forgotten
        state.count = (state.count + 1).clamp_max(self.model.horizon)

    def _read(self, state: Tried, begins: Tensor) -> Tensor:
        """Returns what is known of the query after all transitions, (B, dim)."""
        model, rows = self.model, torch.arange(len(state.count), device=self.device)
        query = model.embed_query(state.seen)
        inputs = (state.observations, state.actions, state.rewards, state.following)
        if state.cache is not None:
            state.cache.reset(begins)
            last = model.embed(
                *(each(lambda x: x[:, -2:-1], one) for one in inputs),
                first=(state.count - 1).clamp_min(0)[:, None],
            )
            token = torch.where(begins[:, None, None], query, last)
            return model.decode(token, Layout(lengths=torch.ones_like(rows)), state.cache)[:, 0]
        longest = int(state.count.max())
        # Real transitions to the left; the last place is the step to come.
        place = torch.arange(longest, device=self.device) - state.count[:, None] - 1
        columns = place.clamp_max(-2) % (model.horizon + 1)
        transitions = model.embed(*(each(lambda x: x[rows[:, None], columns], x) for x in inputs))
        tokens = torch.cat([query, transitions], dim=1)
        state.cache = model.init_cache(len(rows))
        x = model.decode(tokens, Layout(lengths=state.count + 1), state.cache)
        return x[rows, state.count]


def set_last(values: Any, new: Any) -> None:
    """Writes rows into the last step of a tensor, or of several by name."""
    if isinstance(values, Mapping):
        for name in values:
            set_last(values[name], new[name])
    else:
        values[:, -1] = new


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping):
        return all(_same(one[name], other[name]) for name in one)
    return torch.equal(one, other)
