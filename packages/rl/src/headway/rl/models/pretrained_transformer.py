"""The decision-pretrained transformer."""

from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.cache import CacheGroup
from headway.core.errors import UserError
from headway.core.feedforward import GELU, MLP
from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.passed import Passed
from headway.core.stacks import Decoder
from headway.core.systems import system
from headway.rl.batch import Batch, mean_of_steps
from headway.rl.layers.observations import Observations, each
from headway.rl.models.base import DecisionModel, DecisionOptions, Statistics, form
from headway.rl.models.in_context_policy import InContextPolicy
from headway.rl.spaces import Space


@system(
    id=304,
    name="DPT",
    paper="https://arxiv.org/abs/2306.14892",
    claim="taught the best arm of many bandits, it knows that of new ones from what they have paid; "
    "taking the likeliest it loses no more than Thompson sampling does, drawing a fifth more",
    test="packages/rl/tests/models/test_pretrained_transformer.py",
)
class DecisionPretrainedTransformer(DecisionModel):
    """Predicts the best action for an observation from what was tried in the same task before.

    It reads a query observation and then transitions (observation, action, reward, next observation) in any
    order, and says after each of them which action would be best for the query. It is trained on transitions
    of players who do not know the task, with ``expert_actions`` of somebody who does; acting by drawing from
    what it says, it samples from the posterior over tasks.

    Args:
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of attention.
        horizon: Transitions that it reads at most; play beyond forgets the oldest.
        dropout: Of attention and feed-forward.
        **decision: As of every ``DecisionModel``: spaces, observation_dim, action_dim, observations, actions.

    Shape:
        observations: (B, T, *shape), the first of which is the query. actions: (B, T, *shape), or (B, T)
            int64.
        rewards: (B, T). next_observations: as observations. Output: logits or actions (B, T + 1, action_dim),
            after
        0 to T transitions.

    Source:
        Lee et al. 2023, https://arxiv.org/abs/2306.14892, algorithm 1.
    """

    max_timestep: ClassVar[None] = None

    def __init__(
        self,
        *,
        dim: int = 32,
        depth: int = 4,
        heads: int = 4,
        horizon: int = 100,
        dropout: float = 0.0,
        **decision: Passed[DecisionOptions],
    ) -> None:
        super().__init__(dim, **decision)
        if horizon < 1:
            raise UserError(f"horizon is {horizon}; it must be at least 1")
        self.horizon = horizon
        self.next_embedding = self._observations(dim, self.observation_embedding.space)
        self.reward_embedding = nn.Linear(1, dim)
        self.positions = nn.Embedding(horizon + 1, dim)
        self.decoder = Decoder(
            dim,
            depth,
            heads,
            feedforward=partial(MLP, activation=partial(GELU, approximate="tanh"), dropout=dropout),
        )
        init_transformer_(self.decoder)

    def embed_query(self, observations: Observations) -> Tensor:
        """Returns the token of a query, (B, 1, dim), of observations (B, 1, *shape)."""
        return self.observation_embedding(observations) + self.positions.weight[:1]

    def embed(
        self,
        observations: Observations,
        actions: Tensor,
        rewards: Tensor,
        next_observations: Observations,
        *,
        first: Tensor | int = 0,
    ) -> Tensor:
        """Returns the tokens of transitions, (B, T, dim).

        Args:
            observations: (B, T, *shape).
            actions: (B, T, *shape).
            rewards: (B, T).
            next_observations: (B, T, *shape).
            first: How many transitions each row has before these, (B, 1).
        """
        places = 1 + first + torch.arange(rewards.shape[1], device=rewards.device)
        return (
            self.observation_embedding(observations)
            + self.actions.embed(actions)
            + self.reward_embedding(rewards[..., None])
            + self.next_embedding(next_observations)
            + self.positions(places)
        )

    def forward(
        self,
        observations: Observations,
        actions: Tensor,
        rewards: Tensor,
        next_observations: Observations,
    ) -> Tensor:
        """Predicts the best action for the first observation after each transition."""
        transitions = self.embed(observations, actions, rewards, next_observations)
        query = self.embed_query(_at(observations, slice(0, 1)))
        return self.actions.predict(self.decode(torch.cat([query, transitions], dim=1)))

    def decode(
        self, tokens: Tensor, layout: Layout | None = None, cache: CacheGroup | None = None
    ) -> Tensor:
        """Runs tokens (B, N, dim) through the decoder."""
        return self.decoder(tokens, layout, cache=cache)[0]

    def init_cache(self, batch: int) -> CacheGroup:
        """Returns an empty cache for a query and the transitions of each of ``batch`` tasks."""
        return self.decoder.init_cache(batch, self.horizon + 1)

    def features(self, batch: Batch) -> Tensor:
        """Returns what is known of the query of each row before each step, (B, T, dim).

        In training the query is one of the observations, drawn at random, and the transitions are shuffled:
        so no order is learned; otherwise it is the first.
        """
        return self._known(batch)[0][:, :-1]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the loss of the expert's action for the query, after each number of transitions.

        Raises:
            UserError: If the batch has no ``expert_actions`` or ``next_observations``.
        """
        for key in ("expert_actions", "next_observations"):
            if key not in batch:
                raise UserError(
                    f"a batch has no {key}, which {type(self).__name__} learns from; use data that have it "
                    "(BanditData, or trajectories with expert_actions and next_observations: true)"
                )
        known, query = self._known(batch)
        rows = torch.arange(len(query), device=query.device)
        wanted = batch.get("expert_actions", batch["actions"])[rows, query][:, None]
        steps = known.shape[1]
        answers: dict[str, Any] = {"actions": wanted.expand(-1, steps, *wanted.shape[2:])}
        losses = self.actions.loss(known, answers)
        mask = torch.arange(steps, device=losses.device) <= batch["lengths"][:, None]
        return {"loss": mean_of_steps(losses, mask)}

    def _known(self, batch: Batch) -> tuple[Tensor, Tensor]:
        lengths, mask = batch["lengths"], batch["mask"]
        if mask.shape[1] > self.horizon:
            raise UserError(
                f"stretches have {mask.shape[1]} steps, the model reads {self.horizon}; raise its horizon"
            )
        rows = torch.arange(len(lengths), device=lengths.device)[:, None]
        if self.training:
            drawn = torch.rand(mask.shape, device=mask.device).masked_fill(~mask, 2.0)
            order = drawn.argsort(dim=1)
            query = (torch.rand(len(lengths), device=mask.device) * lengths).long()
        else:
            order = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
            query = torch.zeros_like(lengths)
        following = batch.get("next_observations", batch["observations"])
        given = (batch["observations"], batch["actions"], batch["rewards"], following)
        transitions = self.embed(*(_at(x, (rows, order)) for x in given))
        asked = self.embed_query(_at(batch["observations"], (rows, query[:, None])))
        tokens = torch.cat([asked, transitions], dim=1)
        return self.decode(tokens, Layout(lengths=lengths + 1)), query

    def prepare(self, statistics: Statistics) -> None:
        """Takes the statistics of the training data."""
        super().prepare(statistics)
        self.next_embedding.set_moments(statistics.observations)

    def _observe(self, space: Space) -> None:
        if form(space) != form(self.spaces.observation):
            self.next_embedding = self._observations(self.dim, space).to(self.return_scale.device)
        self.next_embedding.space = space
        super()._observe(space)

    def policy(self, *, target_return: Any = 0.0, seed: int = 0) -> InContextPolicy:
        """Returns what acts with it; it asks for no return."""
        return InContextPolicy(self, seed=seed)


def _at(values: Any, index: Any) -> Any:
    """Returns rows and steps of a tensor, or of several by name."""
    return each(lambda x: x[:, index] if isinstance(index, slice) else x[index], values)
