"""Acting by plans that are tried in a model."""

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headway.core.cache import CacheGroup
from headway.rl.layers.observations import Observations
from headway.rl.layers.streams import Streams
from headway.rl.models.model_policy import ModelPolicy

if TYPE_CHECKING:
    from headway.rl.models.tdm.model import TDM


@dataclass
class Past:
    """The last steps of each environment, in tokens, those of each row to the left.

    Args:
        seen: Of observations, (B, K, N).
        done: Of actions, (B, K, M).
        paid: Of rewards, (B, K, 1).
        steps: How many there are, (B,), the present one included.
        streams: Randomness of each environment.
    """

    seen: Tensor
    done: Tensor
    paid: Tensor
    steps: Tensor
    streams: Streams


class PlanningPolicy(ModelPolicy[Past]):
    """Plans anew at every step, and takes the first action of the plan.

    What is planned depends on what is drawn, by the seed of the episode, also where actions are not. It keeps
    as many real steps as leave room for a plan in the model's context.

    Args:
        model: In evaluation mode.
        seed: Of what is drawn, where ``predict`` is given no seeds.
    """

    model: "TDM"

    @property
    def kept(self) -> int:
        """How many steps are kept, the present one included."""
        return self.model.context_length - self.model.planner.horizon + 1

    def observe(self, state: Past, reward: NDArray[Any] | float) -> None:
        """Takes the rewards of the last step."""
        rewards = torch.as_tensor(np.atleast_1d(reward), dtype=torch.float32, device=self.device)
        rows = torch.arange(len(rewards), device=self.device)
        state.paid[rows, state.steps - 1] = self.model.paid(rewards)

    def fork(self, state: Past, rows: NDArray[np.int64]) -> Past:
        """Returns a copy of a state with the given rows in the given order, which goes its own way."""
        chosen = torch.as_tensor(np.asarray(rows), device=self.device)
        parts = ("seen", "done", "paid", "steps")
        return replace(
            state,
            streams=state.streams.select(chosen.tolist()),
            **{name: getattr(state, name)[chosen] for name in parts},
        )

    def _begin(self, batch: int) -> Past:
        model = self.model
        sizes = (len(model.eyes.binning.sizes), len(model.hands.sizes), 1)
        seen, done, paid = (
            torch.zeros(batch, self.kept, size, dtype=torch.int64, device=self.device)
            for size in sizes
        )
        steps = torch.zeros(batch, dtype=torch.int64, device=self.device)
        return Past(seen, done, paid, steps, Streams.drawn(self.seed, batch, self.device))

    def _restart(
        self, state: Past, starts: NDArray[np.bool_], seeds: NDArray[np.int64] | None
    ) -> None:
        state.streams.restart(starts, seeds)
        rows = torch.as_tensor(starts, device=self.device)
        state.steps = state.steps.masked_fill(rows, 0)

    def _act(
        self, state: Past, seen: Observations, starts: NDArray[np.bool_], deterministic: bool
    ) -> Tensor:
        model = self.model
        self._enter(state, model.eyes.encode(seen))
        longest = int(state.steps.max())
        parts = (state.seen[:, :longest], state.done[:, :longest], state.paid[:, :longest])
        cache, known = model.begin(*parts, state.steps)
        time = state.steps - 1

        def score(plans: Tensor) -> Tensor:
            number = plans.shape[1]
            worth, _ = model.imagine(
                repeated(cache, number),
                known.repeat_interleave(number, dim=0),
                time.repeat_interleave(number),
                plans.flatten(0, 1),
            )
            return worth.unflatten(0, (-1, number))

        proposed = self._proposed(state, cache, known, time) if model.proposals else None
        chosen = model.planner.plan(score, model.hands.sizes, state.streams, proposed)
        rows = torch.arange(len(chosen), device=self.device)
        state.done[rows, state.steps - 1] = chosen
        return model.hands.binning.decode(chosen)

    def _enter(self, state: Past, tokens: Tensor) -> None:
        """Adds the present observation, and forgets the first step of rows that are full."""
        full = state.steps == self.kept
        if full.any():
            for part in (state.seen, state.done, state.paid):
                part[full] = part[full].roll(-1, dims=1)
            state.steps = state.steps - full.long()
        state.steps = state.steps + 1
        rows = torch.arange(len(tokens), device=self.device)
        state.seen[rows, state.steps - 1] = tokens

    def _proposed(self, state: Past, cache: CacheGroup, known: Tensor, time: Tensor) -> Tensor:
        """Returns sequences of what the data would have done, (B, P, H, M)."""
        model, number = self.model, self.model.proposals

        def draw(before: Tensor) -> Tensor:
            wide = before.unflatten(0, (-1, number))
            return model.hands.choose(wide, state.streams).flatten(0, 1)

        _, plans = model.imagine(
            repeated(cache, number),
            known.repeat_interleave(number, dim=0),
            time.repeat_interleave(number),
            None,
            draw,
        )
        return plans.unflatten(0, (-1, number))


def repeated(cache: CacheGroup, number: int) -> CacheGroup:
    """Returns a cache in which each row of another stands so many times."""
    made = copy.deepcopy(cache)
    rows = torch.arange(len(made.lengths), device=made.lengths.device)
    made.select(rows.repeat_interleave(number))
    return made
