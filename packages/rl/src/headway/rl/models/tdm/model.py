"""TDM: a transformer that says what follows an action, and plans with it."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.blocks.block import MixerFactories
from headway.core.cache import CacheGroup
from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.passed import Passed
from headway.core.stacks import Decoder
from headway.core.stacks.decoder import CausalSelfAttention
from headway.core.systems import system
from headway.rl.batch import Batch, mean_of_steps
from headway.rl.layers.actions import ActionFactory
from headway.rl.layers.actions.tokenised import TokenActions
from headway.rl.layers.observations.tokenised import TokenObservations
from headway.rl.layers.token_table import TokenTable
from headway.rl.layers.tokens import UniformTokens
from headway.rl.models.base import DecisionModel, DecisionOptions, Statistics
from headway.rl.models.tdm.planners import Planner, RandomShooting
from headway.rl.models.tdm.policy import PlanningPolicy
from headway.rl.spaces import Box, Space


@system(
    id=153,
    name="TDM",
    paper="https://arxiv.org/abs/2305.10912",
    claim="a dynamics model that was trained on many bodies finds out from the steps before how the present "
    "one moves, and plans with a body it has never seen; one that was trained on one body does not",
    test="packages/rl/tests/models/test_tdm.py",
)
class TDM(DecisionModel):
    """A causal decoder over the tokens of observations, actions and rewards, and a planner that asks it.

    Each number of an observation, each number of an action, and the reward are one token; observations and
    rewards are learned as the next token. In play the planner tries sequences of actions behind the real
    steps before (in a cache that the sequences begin with), and takes the first action of the best one.
    ``headway.rl.tasks.Imitation`` trains it on anything that was recorded: random actions, too.

    Args:
        dim: Channels of a token.
        depth: Blocks.
        heads: Heads of the mixers.
        context_length: Steps of the longest stretch, real and imagined ones together.
        planner: Tries actions; ``RandomShooting`` if None.
        proposals: How many of the planner's sequences are drawn from what the data did, which is then learned
            beside.
        discount: Of later rewards of a plan.
        reward_bins: Tokens of a reward.
        mixer: Builds the causal token mixer, ``(dim, heads)``; a sequence is cycled over the depth.
        dropout: Probability of dropping a channel of an embedded token in training.
        **decision: As of every ``DecisionModel``; observations are ``TokenObservations`` and actions
            ``TokenActions``, whose ``tokens`` say how numbers are cut into bins.

    Raises:
        UserError: If an argument is out of its range, or a plan is no shorter than the context.

    Note:
        After the paper alone, whose code is not published. A plan follows the likeliest tokens of
        observations and adds up expected rewards; whether the episode goes on is said beside, and what lies
        behind an end counts nothing.

    Shape:
        observations: (B, T, *shape). actions: (B, T, *shape). rewards: (B, T). Output: logits of the tokens
        of the next observations (B, T, tokens of all numbers), and of rewards (B, T, reward_bins).

    Source:
        Schubert et al. 2023, https://arxiv.org/abs/2305.10912, section 3.
    """

    plain_actions: ClassVar[ActionFactory] = TokenActions

    def __init__(
        self,
        *,
        dim: int = 128,
        depth: int = 3,
        heads: int = 4,
        context_length: int = 20,
        planner: Planner | None = None,
        proposals: int = 0,
        discount: float = 1.0,
        reward_bins: int = 64,
        mixer: MixerFactories = CausalSelfAttention,
        dropout: float = 0.0,
        **decision: Passed[DecisionOptions],
    ) -> None:
        if decision.get("observations") is None:
            decision["observations"] = TokenObservations
        super().__init__(dim, **decision)
        self.planner = RandomShooting() if planner is None else planner
        if not 0 <= proposals <= self.planner.candidates:
            raise UserError(
                f"proposals is {proposals}; it must lie between 0 and the planner's "
                f"{self.planner.candidates} candidates"
            )
        if not 0 < discount <= 1:
            raise UserError(f"discount is {discount}; it must lie above 0 and be at most 1")
        if self.planner.horizon >= context_length:
            raise UserError(
                f"the planner's horizon is {self.planner.horizon}, context_length {context_length}; a plan "
                "must be shorter than the context"
            )
        self.context_length, self.proposals, self.discount = context_length, proposals, discount
        self.binning = UniformTokens(Box(shape=(1,)), bins=reward_bins)
        self.rewards = TokenTable(dim, self.binning.sizes)
        self.times = nn.Parameter(0.02 * torch.randn(context_length, dim))
        self.dropout = Dropout(dropout)
        self.decoder = Decoder(dim, depth, heads, mixer=mixer)
        init_transformer_(self.decoder)
        self.end = nn.Linear(dim, 1)
        self._parts()

    @property
    def eyes(self) -> TokenObservations:
        """What makes tokens of observations."""
        self._parts()
        return self.observation_embedding  # pyright: ignore[reportReturnType]

    @property
    def hands(self) -> TokenActions:
        """What makes tokens of actions."""
        self._parts()
        return self.actions  # pyright: ignore[reportReturnType]

    def _parts(self) -> None:
        right = (TokenObservations, TokenActions)
        for part, kind in zip((self.observation_embedding, self.actions), right, strict=True):
            if not isinstance(part, kind):
                raise UserError(
                    f"{type(part).__name__} makes no tokens of single numbers; a TDM needs "
                    f"headway.rl.layers.{kind.__name__}"
                )

    def embed(self, seen: Tensor, done: Tensor, paid: Tensor, time: int = 0) -> Tensor:
        """Returns the vectors of tokens of steps from ``time`` on, (B, T, tokens of a step, dim)."""
        parts = ((self.eyes.table, seen), (self.hands.table, done), (self.rewards, paid))
        x = torch.cat([table.embed(tokens) + table.places for table, tokens in parts], dim=-2)
        return x + self.times[time : time + x.shape[1], None]

    def forward(
        self, observations: Tensor, actions: Tensor, rewards: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns the logits of what follows each action."""
        tokens = (self.eyes.encode(observations), self.hands.encode(actions), self.paid(rewards))
        known = self._known(tokens, None)
        number, done = tokens[0].shape[-1], tokens[1].shape[-1]
        # The reward knows the first number of the next observation, each number the one behind it.
        coming = F.pad(known[:, 1:, : number - 1], (0, 0, 0, 0, 0, 1))
        before = torch.cat([known[:, :, -1:], coming], dim=2)
        said = [self.eyes.table.logits(before[:, :, k], k) for k in range(number)]
        return torch.cat(said, dim=-1), self.rewards.logits(known[:, :, number + done - 1], 0)

    def paid(self, rewards: Tensor) -> Tensor:
        """Returns the token of each reward, (..., 1)."""
        return self.binning.encode(rewards[..., None])

    def _known(self, tokens: tuple[Tensor, Tensor, Tensor], lengths: Tensor | None) -> Tensor:
        """Returns what is known behind each token, (B, T, tokens of a step, dim)."""
        if tokens[0].shape[1] > self.context_length:
            raise UserError(
                f"stretches have {tokens[0].shape[1]} steps, the model knows {self.context_length}; raise "
                "the model's context_length"
            )
        x = self.dropout(self.embed(*tokens))
        layout = None if lengths is None else Layout(lengths=lengths * x.shape[2])
        return self.decoder(x.flatten(1, 2), layout)[0].unflatten(1, x.shape[1:3])

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the sum of the mean losses of next observations, rewards, ends and actions, and each."""
        mask = batch["mask"]
        seen = self.eyes.encode(batch["observations"])
        tokens = (seen, self.hands.encode(batch["actions"]), self.paid(batch["rewards"]))
        known = self._known(tokens, batch["lengths"])
        number, done = seen.shape[-1], tokens[1].shape[-1]
        before = torch.cat([known[:, :-1, -1:], known[:, 1:, : number - 1]], dim=2)
        missed = [
            F.cross_entropy(
                self.eyes.table.logits(before[:, :, k], k).transpose(1, 2),
                seen[:, 1:, k],
                reduction="none",
            )
            for k in range(number)
        ]
        acted = known[:, :, number + done - 1]
        paid = F.cross_entropy(
            self.rewards.logits(acted, 0).transpose(1, 2), tokens[2][..., 0], reduction="none"
        )
        ends = F.binary_cross_entropy_with_logits(
            self.end(acted)[..., 0], batch["terminated"].to(acted), reduction="none"
        )
        later = mask[:, 1:]
        following = torch.stack(missed).mean(dim=0).masked_fill(~later, 0.0).sum()
        found = {
            "observations": following / later.sum().clamp_min(1),
            "rewards": mean_of_steps(paid, mask),
            "ends": mean_of_steps(ends, mask),
        }
        if self.proposals:
            told = self.hands.loss(known[:, :, number - 1], batch)
            found["actions"] = mean_of_steps(told, mask)
        return {"loss": torch.stack(list(found.values())).sum(), **found}

    def features(self, batch: Batch) -> Tensor:
        """Returns what is known before each action, (B, T, dim)."""
        seen = self.eyes.encode(batch["observations"])
        tokens = (seen, self.hands.encode(batch["actions"]), self.paid(batch["rewards"]))
        return self._known(tokens, batch["lengths"])[:, :, seen.shape[-1] - 1]

    def prepare(self, statistics: Statistics) -> None:
        """Takes the statistics of the training data; bins keep the bounds that they have."""
        super().prepare(statistics)
        if statistics.seen is not None:
            self.eyes.set_bounds(statistics.seen)
        if statistics.rewards is not None and len(statistics.rewards):
            self.binning.prepare(statistics.rewards[:, None])

    @property
    def has_statistics(self) -> bool:
        """Whether bounds were ever set, by training or by hand."""
        return self.binning.has_bounds

    def begin(
        self, seen: Tensor, done: Tensor, paid: Tensor, steps: Tensor
    ) -> tuple[CacheGroup, Tensor]:
        """Reads the real steps before an action.

        Args:
            seen: Tokens of observations, (B, T, N), the present one the last of ``steps``.
            done: Tokens of actions, (B, T, M); that of the present step is not read.
            paid: Tokens of rewards, (B, T, 1), likewise.
            steps: How many steps each row has, (B,), the present one included.

        Returns:
            A cache with room for a plan, and what is known before the action, (B, dim).
        """
        x = self.embed(seen, done, paid)
        size, number = x.shape[2], seen.shape[-1]
        lengths = (steps - 1) * size + number
        room = (x.shape[1] + self.planner.horizon + 1) * size
        cache = self.decoder.init_cache(len(x), room)
        x = x.flatten(1, 2)[:, : int(lengths.max())]
        even = bool((lengths == x.shape[1]).all())
        layout = None if even else Layout(lengths=lengths)
        return cache, self.decoder.last(x, layout, cache=cache)

    def imagine(
        self,
        cache: CacheGroup,
        known: Tensor,
        time: Tensor,
        plans: Tensor | None,
        draw: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Follows plans behind what a cache has seen, and changes it.

        Args:
            cache: Of ``begin``, one row for each plan.
            known: What is known before the first action, (R, dim).
            time: Place of the present step in its stretch, (R,).
            plans: Tokens of actions, (R, H, M); those of ``draw`` if None.
            draw: Returns tokens of actions (R, M) given what is known before them.

        Returns:
            What the plans are worth, (R,), and their tokens.
        """
        worth, alive = known.new_zeros(len(known)), known.new_ones(len(known))
        number, waiting, weight, taken = len(self.eyes.binning.sizes), None, 1.0, []
        steps = self.planner.horizon if plans is None else plans.shape[1]
        middles = self.binning.decode(torch.arange(self.binning.bins, device=known.device)[:, None])
        for step in range(steps):
            here = self.times[time + step][:, None]
            if plans is None:
                if waiting is not None:
                    known, waiting = self._read(cache, waiting), None
                assert draw is not None
                action = draw(known)
            else:
                action = plans[:, step]
            taken.append(action)
            x = self.hands.table.embed(action) + self.hands.table.places + here
            known = self._read(cache, x if waiting is None else torch.cat([waiting, x], dim=1))
            chances = self.rewards.logits(known, 0).softmax(dim=-1)
            worth = worth + weight * alive * (chances @ middles[:, 0].to(chances))
            alive = alive * (1 - self.end(known)[:, 0].sigmoid())
            weight *= self.discount
            if step + 1 == steps:
                break
            following = self.times[time + step + 1][:, None]
            paid = chances.argmax(dim=-1, keepdim=True)
            known = self._read(cache, self.rewards.embed(paid) + self.rewards.places + here)
            for k in range(number):
                token = self.eyes.table.logits(known, k).argmax(dim=-1, keepdim=True)
                place = self.eyes.table.places[k : k + 1]
                waiting = self.eyes.table.embed(token, k) + place + following
                # The last number enters together with the action behind it.
                if k + 1 < number:
                    known = self._read(cache, waiting)
        return worth, torch.stack(taken, dim=1)

    def _read(self, cache: CacheGroup, x: Tensor) -> Tensor:
        return self.decoder.last(x, cache=cache)

    def policy(self, *, target_return: Any = 0.0, seed: int = 0) -> PlanningPolicy:
        """Returns what plans with it; see ``DecisionModel``. No return can be asked for."""
        return PlanningPolicy(self, seed=seed)

    def _observe(self, space: Space) -> None:
        super()._observe(space)
        self._parts()

    def _act(self, space: Space) -> None:
        super()._act(space)
        self._parts()
