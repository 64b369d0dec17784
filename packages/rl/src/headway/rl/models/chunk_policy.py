"""Acting with a model that says several actions at once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headway.rl.layers.observations import Observations, each
from headway.rl.layers.streams import Streams
from headway.rl.models.model_policy import ModelPolicy
from headway.rl.models.seeing import push

if TYPE_CHECKING:
    from headway.rl.models.chunk import ChunkModel


@dataclass
class ChunkState:
    """What a policy remembers of each environment.

    Args:
        seen: The last observations, (B, history, *shape), or several such by name.
        plans: Chunks that are not used up, the newest first, (B, P, horizon, *shape): one, or as many as a
            chunk has actions where they are averaged.
        known: How many of the P chunks are real, (B,).
        used: How many actions of the newest chunk were carried out, (B,).
        streams: Randomness of each environment.
    """

    seen: Observations
    plans: Tensor
    known: Tensor
    used: Tensor
    streams: Streams


class ChunkPolicy(ModelPolicy[ChunkState]):
    """Carries out chunks of actions, each environment at its own place.

    Either some actions of a chunk are carried out before the next one is asked for, or one is asked for at
    every step and all that were said about this step are averaged (temporal ensembling). What is drawn is
    drawn from the stream of its environment; whether the likeliest action is asked for changes nothing.

    Args:
        model: In evaluation mode.
        seed: Of what is drawn, where ``predict`` is given no seeds.

    Source:
        Zhao et al. 2023 (ACT), https://arxiv.org/abs/2304.13705, section 4.1.
    """

    model: "ChunkModel"

    def _act(
        self, state: ChunkState, seen: Observations, starts: NDArray[np.bool_], deterministic: bool
    ) -> Tensor:
        state.seen = _push(state.seen, seen, torch.as_tensor(starts, device=self.device))
        return self._next(state) if self.model.ensemble is None else self._averaged(state)

    def fork(self, state: ChunkState, rows: NDArray[np.int64]) -> ChunkState:
        """Returns a copy of a state with the given rows in the given order, which goes its own way."""
        chosen = torch.as_tensor(np.asarray(rows), device=self.device)
        return replace(
            state,
            seen=each(lambda x: x[chosen], state.seen),
            streams=state.streams.select(chosen.tolist()),
            **{name: getattr(state, name)[chosen] for name in ("plans", "known", "used")},
        )

    def _begin(self, batch: int) -> ChunkState:
        model = self.model
        zeros = torch.zeros(batch, dtype=torch.int64, device=self.device)
        kept = 1 if model.ensemble is None else model.horizon
        return ChunkState(
            seen=model.observation_embedding.blank(batch, model.history),
            plans=model.actions.blank(batch, kept, model.horizon),
            known=zeros,
            used=zeros.clone(),
            streams=Streams.drawn(self.seed, batch, self.device),
        )

    def _restart(
        self, state: ChunkState, starts: NDArray[np.bool_], seeds: NDArray[np.int64] | None
    ) -> None:
        state.streams.restart(starts, seeds)
        rows = torch.as_tensor(starts, device=self.device)
        state.known = state.known.masked_fill(rows, 0)
        state.used = state.used.masked_fill(rows, 0)

    def _plan(self, state: ChunkState, rows: list[int]) -> Tensor:
        chosen = torch.tensor(rows, device=self.device)
        return self.model.plan(each(lambda x: x[chosen], state.seen), state.streams.of(rows))

    def _next(self, state: ChunkState) -> Tensor:
        """Returns the next action of each chunk, and asks for chunks where none is left."""
        done = (state.known == 0) | (state.used >= self.model.taken)
        rows = done.nonzero()[:, 0].tolist()
        if rows:
            state.plans[rows, 0] = self._plan(state, rows).to(state.plans)
            state.known = state.known.masked_fill(done, 1)
            state.used = state.used.masked_fill(done, 0)
        every = torch.arange(len(done), device=self.device)
        chosen = state.plans[every, 0, state.used]
        state.used = state.used + 1
        return chosen

    def _averaged(self, state: ChunkState) -> Tensor:
        """Returns the weighted mean of what all chunks say about this step."""
        assert self.model.ensemble is not None
        horizon, number = self.model.horizon, len(state.known)
        new = self._plan(state, list(range(number))).to(state.plans)
        state.plans = torch.cat([new[:, None], state.plans[:, :-1]], dim=1)
        state.known = (state.known + 1).clamp_max(horizon)
        # The chunk of so many steps ago says its action of that place for now.
        age = torch.arange(horizon, device=self.device)
        said = state.plans[:, age, age]
        oldest = state.known[:, None] - 1
        weights = (-self.model.ensemble * (oldest - age)).exp()
        weights = weights.masked_fill(age > oldest, 0.0)
        weights = weights / weights.sum(dim=1, keepdim=True)
        return torch.einsum("bp,bp...->b...", weights.to(said), said)


def _push(past: Any, new: Any, starts: Tensor) -> Any:
    """Returns the last observations with a new one; where an episode begins it stands in for all."""
    if isinstance(past, Mapping):
        return {name: _push(past[name], new[name], starts) for name in past}
    moved = push(past, new)
    first = starts.reshape(-1, *[1] * (moved.ndim - 1))
    return torch.where(first, new[:, None].to(past.dtype), moved)
