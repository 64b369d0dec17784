"""Acting in chains of episodes, the later of which read the earlier."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headway.core.errors import UserError
from headway.rl.layers.observations import Observations, each
from headway.rl.models.sequence_policy import PolicyState, SequencePolicy

if TYPE_CHECKING:
    from headway.rl.models.agentic_transformer import AgenticTransformer

# Of the return that was asked for: so close, it has come about.
TOLERANCE = 1e-4


@dataclass(kw_only=True)
class ChainState(PolicyState):
    """What a policy remembers of the chain of each environment; ``time`` counts the steps of a chain.

    Args:
        trial: Episode of the chain, (B,).
        step: Step of the episode, (B,).
        before: Place of the last step, (B,).
        brought: Reward of the last step, and whether the last try was completed, (B, 2).
    """

    trial: NDArray[np.int64]
    step: NDArray[np.int64]
    before: NDArray[np.int64]
    brought: Tensor


class ChainPolicy(SequencePolicy):
    """Acts with the context of all tries of a chain; after ``trials`` episodes it forgets and begins anew.

    ``metrics.evaluate`` plays the episodes of a chain one after the other in the same environment, from the
    same seed: they are tries at the same task. Draws go on through a chain.

    Args:
        model: In evaluation mode.
        target_return: Return to ask for in every try.
        seed: Of the actions that are drawn, where ``predict`` is given no seeds.
    """

    model: "AgenticTransformer"

    @property
    def trials(self) -> int:
        """Episodes of a chain."""
        return self.model.trials

    def fork(self, state: PolicyState, rows: NDArray[np.int64]) -> PolicyState:
        """Returns a copy of a state with the given rows in the given order, which goes its own way."""
        assert isinstance(state, ChainState)
        rows = np.asarray(rows)
        return replace(
            super().fork(state, rows),
            trial=state.trial[rows],
            step=state.step[rows],
            before=state.before[rows],
            brought=state.brought[torch.as_tensor(rows, device=self.device)],
        )

    def observe(self, state: PolicyState, reward: NDArray | float) -> None:
        """Takes the rewards of the last step off the return that is still to come, and remembers them."""
        super().observe(state, reward)
        assert isinstance(state, ChainState)
        gained = np.atleast_1d(reward)
        state.brought[:, 0] = torch.as_tensor(gained, dtype=torch.float32, device=self.device)

    def _begin(self, batch: int) -> PolicyState:
        zeros = np.zeros(batch, np.int64)
        return ChainState(
            **vars(super()._begin(batch)),
            trial=zeros - 1,
            step=zeros,
            before=zeros,
            brought=torch.zeros(batch, 2, device=self.device),
        )

    def _restart(
        self, state: PolicyState, starts: NDArray[np.bool_], seeds: NDArray[np.int64] | None
    ) -> None:
        assert isinstance(state, ChainState)
        state.brought[:, 1] = 0.0
        if not starts.any():
            return
        rows = torch.as_tensor(starts, device=self.device)
        completed = state.wanted <= TOLERANCE * self.model.return_scale
        state.brought[:, 1] = (rows & completed).float()
        anew = starts & ((state.trial < 0) | (state.trial == self.trials - 1))
        super()._restart(state, anew, seeds)
        state.brought[torch.as_tensor(anew, device=self.device)] = 0.0
        target = torch.as_tensor(self.target_return, dtype=torch.float32, device=self.device)
        state.wanted = torch.where(rows, target, state.wanted)
        state.trial = np.where(anew, 0, state.trial + starts)
        state.step = np.where(starts, 0, state.step)

    def _enter(self, state: PolicyState, seen: Observations) -> Tensor:
        assert isinstance(state, ChainState)
        model = self.model
        if (state.time >= model.context_length).any():
            raise UserError(
                f"a chain of {model.trials} episodes is longer than the {model.context_length} steps that "
                "the model reads; raise its context_length"
            )
        now = model.place(state.trial, state.step)
        told = torch.cat([state.wanted[:, None], state.brought], dim=1)
        # Two steps of which little is read: of the last its action, of the present what is in front of it.
        tokens = model.embed(
            each(lambda x: x[:, None].expand(-1, 2, *x.shape[1:]), seen),
            torch.stack([state.taken, model.actions.blank(len(now))], dim=1),
            told[:, None].expand(-1, 2, -1),
            torch.as_tensor(np.stack([state.before, now], axis=1), device=self.device),
        )
        state.before, state.step = now, state.step + 1
        return model.enter(tokens.flatten(1, 2)[:, model.tokens_per_step - 1 : -1])
