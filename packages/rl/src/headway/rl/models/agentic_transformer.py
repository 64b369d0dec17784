"""The agentic transformer: a decision transformer that reads its earlier tries."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.passed import Passed
from headway.core.systems import system
from headway.rl.batch import Batch
from headway.rl.layers.observations import Observations
from headway.rl.models.chain_policy import ChainPolicy
from headway.rl.models.trajectory import TrajectoryModel, TrajectoryModelOptions, before


@system(
    id=68,
    name="Agentic Transformer",
    paper="https://arxiv.org/abs/2305.16554",
    claim="taught chains of ever better tries, it finds in a few tries what single ones do not show; its "
    "later tries are better than the first",
    test="packages/rl/tests/models/test_agentic_transformer.py",
)
class AgenticTransformer(TrajectoryModel):
    """Predicts actions from all tries of a chain so far, each of which asks for the chain's best return.

    In front of return, observation and action of each step stands a token of the step before it: what was
    done, its reward, and whether its try has brought about what was asked for. It learns from data with a
    ``chain``. In play the policy carries the context over ``trials`` episodes of each environment, which
    then forgets and begins a new chain.

    Args:
        trials: Episodes of a chain.
        **trajectory: As of every ``TrajectoryModel``, but ``streaming``: ``context_length`` is that of
            a whole chain, ``max_timestep`` that of an episode.

    Shape:
        observations, actions, returns_to_go, timesteps, mask: as of a ``TrajectoryModel``.
        rewards, completed, trial: (B, T), as in ``Batch``.

    Note:
        In the paper reward and completion are two tokens behind the action. Here they are one, in front of
        the next step, which is the same order, and it holds the action, too. Which try a step belongs to is
        an embedding, beside that of the step within its episode.

    Source:
        Liu and Abbeel 2023, https://arxiv.org/abs/2305.16554, sections 3.1 to 3.3.
    """

    tokens_per_step: ClassVar[int] = 4
    reads_returns: ClassVar[bool] = True

    def __init__(
        self,
        *,
        trials: int = 4,
        **trajectory: Passed[TrajectoryModelOptions],
    ) -> None:
        super().__init__(**trajectory)
        if trials < 1:
            raise UserError(f"trials is {trials}; a chain has at least 1 episode")
        if self.streaming:
            raise UserError("streaming has no end of a chain to forget at; leave it out")
        self.trials = trials
        self.trial_embedding = nn.Embedding(trials, self.dim)
        self.outcome_embedding = nn.Linear(2, self.dim)

    def place(self, trial: Any, timesteps: Any) -> Any:
        """Returns one number for try and step, as ``at_time`` reads it."""
        last = self.max_timestep - 1
        inside = timesteps.clip(0, last)
        return trial * self.max_timestep + inside

    def at_time(self, timesteps: Tensor) -> Tensor:
        """Returns what is added to the tokens of each step; of places in a chain."""
        trial = (timesteps // self.max_timestep).clamp(0, self.trials - 1)
        return self.timestep_embedding(timesteps % self.max_timestep) + self.trial_embedding(trial)

    def embed(
        self, observations: Observations, actions: Tensor, returns_to_go: Tensor, timesteps: Tensor
    ) -> Tensor:
        """Returns the tokens of each step.

        Args:
            observations: (B, T, *shape).
            actions: (B, T, *shape).
            returns_to_go: (B, T, 3): the return to bring about, the last reward, whether the last try was
                completed.
            timesteps: Places in the chain, (B, T).
        """
        assert self.return_embedding is not None
        told = returns_to_go / torch.stack(
            [self.return_scale, self.return_scale, torch.ones_like(self.return_scale)]
        )
        taken = self.actions.embed(actions)
        # At the first step of a chain nothing was done before.
        last = before(taken) * (timesteps != 0)[..., None]
        tokens = (
            self.outcome_embedding(told[..., 1:]) + last,
            self.return_embedding(told[..., :1]),
            self.observation_embedding(observations),
            taken,
        )
        return torch.stack(tokens, dim=2) + self.at_time(timesteps)[:, :, None]

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        observations: Observations,
        actions: Tensor,
        returns_to_go: Tensor,
        timesteps: Tensor,
        rewards: Tensor,
        completed: Tensor,
        trial: Tensor,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Predicts the action of each step from what came before it."""
        layout = None
        if mask is not None:
            layout = Layout(valid=mask.repeat_interleave(self.tokens_per_step, dim=1))
        told = _told(returns_to_go, rewards, completed)
        steps = (observations, actions, told, self.place(trial, timesteps))
        return self.actions.predict(self._features(steps, mask, layout))

    def features(self, batch: Batch) -> Tensor:
        """Returns what is known before each action of a batch, (B, T, dim)."""
        if "trial" not in batch or "completed" not in batch:
            raise UserError(
                "an agentic transformer learns from chains; set the data's chain to headway.rl.data.Chain"
            )
        told = _told(batch["returns_to_go"], batch["rewards"], batch["completed"])
        place = self.place(batch["trial"], batch["timesteps"])
        steps = (batch["observations"], batch["actions"], told, place)
        layout = Layout(lengths=batch["lengths"] * self.tokens_per_step)
        return self._features(steps, batch["mask"], layout)

    def policy(self, *, target_return: Any = 0.0, seed: int = 0) -> ChainPolicy:
        """Returns what acts with it; see ``DecisionModel``."""
        return ChainPolicy(self, target_return=target_return, seed=seed)


def _told(returns_to_go: Tensor, rewards: Tensor, completed: Tensor) -> Tensor:
    """Returns what is known at the beginning of each step, (B, T, 3): what came before it moves on by one."""
    brought = torch.stack([rewards, completed.to(rewards)], dim=-1)
    return torch.cat([returns_to_go[..., None], before(brought)], dim=-1)
