"""RATE: a decision transformer with a memory that it carries from segment to segment."""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from headway.core.cache import CacheGroup
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.passed import Passed
from headway.core.systems import system
from headway.rl.models.decision_transformer import DecisionTransformer
from headway.rl.models.sequence_policy import PolicyState, SequencePolicy
from headway.rl.models.trajectory import TrajectoryModelOptions, hide


@system(
    id=142,
    name="RATE",
    paper="https://arxiv.org/abs/2306.09459",
    claim="memory tokens carry what was seen to every later segment, where a model of one segment has "
    "forgotten it",
    test="packages/rl/tests/models/test_rate.py",
)
class RATE(DecisionTransformer):
    """A decision transformer over segments; memory tokens at both ends of each carry on what was seen.

    An episode is cut into segments of ``context_length`` steps. In front of the tokens of a segment stand the
    memory tokens, which all of them see, and behind them stand the same again, which see all of them: what
    these become is the memory of the next segment. Training runs through all segments of a stretch, with
    gradient, so stretches hold several segments, and begin where memory is empty. In play a step costs its
    own tokens; the memory lies in the state of the policy.

    See ``TrajectoryModel`` for the other arguments.

    Args:
        memory_tokens: How many; few are learned sooner.
        **trajectory: As of every ``TrajectoryModel``, but ``streaming``.

    Note:
        The authors' code has attention with relative positions (Transformer-XL), norms behind each sum, an
        optional cache of hidden states, and a valve that retains parts of the memory by cross-attention
        (their later versions). Here the stack is that of the decision transformer, a memory token sees
        those before it alone, and there is neither cache nor valve; so weights cannot be compared.

    Source:
        Cherepanov et al. 2023, https://arxiv.org/abs/2306.09459, section 4 (the version without valve).
    """

    def __init__(
        self, *, memory_tokens: int = 1, **trajectory: Passed[TrajectoryModelOptions]
    ) -> None:
        super().__init__(**trajectory, streaming=True)
        if memory_tokens < 1:
            raise UserError(
                f"memory_tokens is {memory_tokens}; without memory use DecisionTransformer"
            )
        self.memory = nn.Parameter(0.02 * torch.randn(memory_tokens, self.dim))

    def first_memory(self, batch: int) -> Tensor:
        """Returns the memory in front of an episode, (B, M, dim)."""
        return self.memory.expand(batch, -1, -1)

    def _features(
        self, steps: tuple[Any, Tensor, Tensor, Tensor], mask: Tensor | None, layout: Layout | None
    ) -> Tensor:
        observations, actions, returns_to_go, timesteps = steps
        returns_to_go = returns_to_go.reshape(timesteps.shape)
        order = None
        if mask is not None:
            hidden = ~mask
            observations, actions = hide(observations, hidden), hide(actions, hidden)
            returns_to_go, timesteps = hide(returns_to_go, hidden), hide(timesteps, hidden)
            # Segments are counted from the first real step: what is real moves to the left.
            order = hidden.long().argsort(dim=1, stable=True)
        tokens = self.enter(self.embed(observations, actions, returns_to_go, timesteps))
        if order is None:
            return self._segments(tokens)
        places = order[..., None].expand(-1, -1, self.dim)
        tokens = tokens.gather(1, places[:, :, None].expand_as(tokens))
        found = self._segments(tokens)
        return torch.zeros_like(found).scatter(1, places, found)

    def _segments(self, tokens: Tensor) -> Tensor:
        """Returns what is known before each action of tokens (B, T, P, dim), segment by segment.

        What is padded stands behind all that is real, where nobody looks any more.
        """
        memory, found = self.first_memory(len(tokens)), []
        count = self.memory.shape[0]
        for segment in tokens.split(self.context_length, dim=1):
            x = torch.cat([memory, segment.flatten(1, 2), memory], dim=1)
            x = self.decoder(x)[0]
            memory = x[:, -count:]
            x = x[:, count:-count].unflatten(1, segment.shape[1:3])
            found.append(x[:, :, -2])
        return torch.cat(found, dim=1)

    def init_cache(self, batch: int) -> CacheGroup:
        """Returns an empty cache for a segment of each of ``batch`` trajectories."""
        memory = 2 * self.memory.shape[0]
        # Padding behind the real tokens of a step needs room, too.
        longest = (self.context_length + 1) * self.tokens_per_step + 2 * memory
        return self.decoder.init_cache(batch, longest)

    def policy(self, *, target_return: Any = 0.0, seed: int = 0) -> "MemoryPolicy":
        """Returns what acts with it; see ``DecisionModel``."""
        return MemoryPolicy(self, target_return=target_return, seed=seed)


class MemoryPolicy(SequencePolicy):
    """Acts with a memory: at the end of a segment it is written, and the cache begins anew with it."""

    model: RATE

    def _features(self, state: PolicyState, new: Tensor) -> Tensor:
        assert state.cache is not None
        first = state.time == 1
        ended = ~first & ((state.time - 1) % self.model.context_length == 0)
        if state.memory is None:
            state.memory = self.model.first_memory(len(new)).clone()
        if first.any():
            rows = torch.as_tensor(first, device=self.device)
            state.memory[rows] = self.model.first_memory(int(first.sum()))
        if ended.any():
            self._write(state, state.cache, new, np.flatnonzero(ended))
        begins = first | ended
        if not begins.any():
            return self._last(new, np.full(len(new), new.shape[1]), state.cache)
        rows = torch.as_tensor(begins, device=self.device)
        state.cache.reset(None if begins.all() else rows)
        # The memory, then the present without the last action; elsewhere the usual tokens and padding.
        opening = torch.cat([state.memory, new[:, 1:]], dim=1)
        going = torch.cat([new, torch.zeros_like(state.memory[:, 1:])], dim=1)
        tokens = torch.where(rows[:, None, None], opening, going)
        return self._last(tokens, np.where(begins, opening.shape[1], new.shape[1]), state.cache)

    def _write(self, state: PolicyState, cache: CacheGroup, new: Tensor, ended: Any) -> None:
        """Ends segments with their last action, and reads the memory behind it."""
        assert state.memory is not None
        rows = torch.as_tensor(ended, device=self.device)
        own = copy.deepcopy(cache)
        own.select(rows)
        tokens = torch.cat([new[rows, :1], state.memory[rows]], dim=1)
        written = self.model.decoder(tokens, cache=own)[0]
        state.memory[rows] = written[:, 1:]
