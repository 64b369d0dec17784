"""Proximal policy optimisation of a language model of molecules."""

from typing import Any

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.language import DecoderLanguageModel
from headway.molecules.optimization.agent import LearningAgent, Rollout
from headway.molecules.optimization.diversity import ScaffoldBuckets
from headway.molecules.optimization.targets import Targets

# Of advantages, over steps that are not discounted.
LAMBDA = 0.95
VALUE_WEIGHT = 0.1
LARGEST_GRADIENT = 1.0


class PPO(LearningAgent):
    """Each token is an action; the score comes with the last, and every token pays for leaving the prior.

    A linear head on the decoder says what a beginning is worth. Several updates are taken on what was
    written, each token's ratio clipped.

    Args:
        prior: A decoder, which is not changed.
        batch_size: Molecules of a step.
        lr: Learning rate of Adam.
        penalty: Of each nat by which a token is likelier than under the prior.
        clip: How far the ratio of the probabilities of a token may go from 1.
        updates: On what was written in a step.
        buckets: Lets scaffolds be used up; None for no such filter.
        targets: As of every ``LearningAgent``.
        invalid: As of every ``LearningAgent``.
        seed: Of all that is drawn.

    Raises:
        UserError: If the model is no decoder, or clip or updates are out of range.

    Source:
        Schulman et al. 2017, https://arxiv.org/abs/1707.06347, eq. 7 and 11; the penalty for each token as in
        Ziegler et al. 2019, https://arxiv.org/abs/1909.08593, eq. 2.
    """

    def __init__(
        self,
        prior: DecoderLanguageModel,
        *,
        batch_size: int = 64,
        lr: float = 3e-4,
        penalty: float = 0.01,
        clip: float = 0.2,
        updates: int = 4,
        buckets: ScaffoldBuckets | None = None,
        targets: Targets | None = None,
        invalid: float = 0.0,
        seed: int = 0,
    ) -> None:
        if not isinstance(prior, DecoderLanguageModel):
            raise UserError(f"PPO reads the vectors of a decoder; this is a {type(prior).__name__}")
        if not 0 < clip < 1 or updates < 1 or penalty < 0:
            raise UserError(
                f"clip is {clip} (between 0 and 1), updates {updates} (at least 1), penalty {penalty} (at "
                "least 0)"
            )
        self.value = nn.Linear(prior.head.in_features, 1).to(prior.device)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)
        what = {"buckets": buckets, "targets": targets, "invalid": invalid}
        super().__init__(prior, batch_size=batch_size, lr=lr, seed=seed, **what)
        self.penalty, self.clip, self.updates = penalty, clip, updates

    def learned(self) -> list[nn.Parameter]:
        """Returns the parameters of the decoder and of the head."""
        return [*super().learned(), *self.value.parameters()]

    def improve(self, rollout: Rollout, replayed: Rollout | None) -> None:
        """Takes several clipped steps."""
        places = torch.arange(rollout.tokens.shape[1] - 1, device=rollout.tokens.device)
        real = places < rollout.lengths[:, None] - 1
        with torch.no_grad():
            before, values = self._read(rollout)
            likely = self.prior.score(rollout.tokens, lengths=rollout.lengths, **rollout.told)
        rewards = torch.where(real, -self.penalty * (before - likely), 0.0)
        rewards[torch.arange(len(rewards)), rollout.lengths - 2] += rollout.rewards
        advantages = advantages_of(rewards, values, real)
        returns = advantages + values
        advantages = (advantages - advantages[real].mean()) / (advantages[real].std() + 1e-6)
        for _ in range(self.updates):
            own, guessed = self._read(rollout)
            ratio = (own - before).exp()
            kept = ratio.clamp(1 - self.clip, 1 + self.clip)
            gain = torch.minimum(ratio * advantages, kept * advantages)[real].mean()
            error = (guessed - returns)[real].square().mean()
            self.adam.zero_grad()
            (VALUE_WEIGHT * error - gain).backward()
            nn.utils.clip_grad_norm_(self.learned(), LARGEST_GRADIENT)
            self.adam.step()

    def state_dict(self) -> dict[str, Any]:
        """Returns what is needed to go on."""
        return {**super().state_dict(), "value": self.value.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a state."""
        super().load_state_dict(state)
        self.value.load_state_dict(state["value"])

    def _read(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Returns log-probability of each token behind the first and value of what stood before it."""
        assert isinstance(self.agent, DecoderLanguageModel)
        tokens = rollout.tokens
        vectors = self.agent.features(tokens[:, :-1], **rollout.told)
        chances = self.agent.head(vectors).float().log_softmax(dim=-1)
        chosen = chances.gather(2, tokens[:, 1:, None])[..., 0]
        return chosen, self.value(vectors)[..., 0]


def advantages_of(rewards: Tensor, values: Tensor, real: Tensor) -> Tensor:
    """Returns how much better each action was than expected (generalised advantages, no discount).

    Args:
        rewards: For each action.
        values: What was expected before it.
        real: Which actions there were.

    Shape:
        rewards, values, real, output: (B, T).

    Source:
        Schulman et al. 2015, https://arxiv.org/abs/1506.02438, eq. 16.
    """
    values = values.masked_fill(~real, 0.0)
    advantages, following, ahead = (
        [],
        torch.zeros_like(values[:, 0]),
        torch.zeros_like(values[:, 0]),
    )
    for place in range(rewards.shape[1] - 1, -1, -1):
        surprise = rewards[:, place] + ahead - values[:, place]
        following = torch.where(real[:, place], surprise + LAMBDA * following, 0.0)
        ahead = values[:, place]
        advantages.append(following)
    return torch.stack(advantages[::-1], dim=1)
