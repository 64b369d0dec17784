"""Actions of a skill that is named first."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.feedforward import GELU
from headway.rl.layers.actions.base import ActionFactory, ActionHead
from headway.rl.layers.streams import Streams
from headway.rl.spaces import Box, Discrete, MultiDiscrete, Space


class SkilledActions(ActionHead):
    """Names the skill that a step is part of, then says the action of that skill.

    The skill is learned by cross-entropy. The action is learned, by another head, from the features and the
    embedding of the true skill; in play the likeliest skill, or one that is drawn, stands in its place.

    Args:
        dim: Channels of a token.
        space: What an action is, or its number of numbers or choices, as of ``actions``.
        skills: How many there are.
        actions: Builds the head of the actions, ``(dim, space)``.
        skill_weight: Of the cross-entropy of the skill, beside the loss of the action.

    Shape:
        features: (..., dim). batch: ``skills`` (B, T) int64, beside what the other head reads.

    Raises:
        UserError: If there is no skill, or the weight is not positive.

    Source:
        Huang et al. 2023, https://arxiv.org/abs/2308.09873.
    """

    knows: ClassVar[tuple[type[Any], ...]] = (Box, Discrete, MultiDiscrete)

    def __init__(
        self,
        dim: int,
        space: Space | int,
        *,
        skills: int,
        actions: ActionFactory,
        skill_weight: float = 1.0,
    ) -> None:
        head = actions(dim, space)
        super().__init__(dim, head.space)
        if skills < 1 or not skill_weight > 0:
            raise UserError(
                f"skills is {skills} and skill_weight {skill_weight}; at least 1 skill and a weight above 0 "
                "are needed"
            )
        self.skills, self.skill_weight = skills, skill_weight
        self.skill = nn.Linear(dim, skills)
        self.embedding = nn.Embedding(skills, dim)
        # A sum would only shift the actions: what is seen must mean another thing in each skill.
        self.joint = nn.Sequential(nn.Linear(2 * dim, dim), GELU())
        self.head = head

    def __setattr__(self, name: str, value: Any) -> None:
        # Where choices start, and what bounds numbers have, is said once for both.
        if name == "space" and "head" in self._modules:
            self.head.space = value
        super().__setattr__(name, value)

    def embed(self, actions: Tensor) -> Tensor:
        """Returns the tokens."""
        return self.head.embed(actions)

    def under(self, features: Tensor, skills: Tensor) -> Tensor:
        """Returns what the head of the actions reads where skills (...) are given, (..., dim)."""
        return self.joint(torch.cat([features, self.embedding(skills)], dim=-1))

    def name(self, features: Tensor) -> Tensor:
        """Returns the likeliest skills, (...)."""
        return self.skill(features).argmax(dim=-1)

    def predict(self, features: Tensor) -> Tensor:
        """Returns the likeliest actions, or the logits of choices, of the likeliest skills."""
        return self.head.predict(self.under(features, self.name(features)))

    def loss(self, features: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """Returns the loss of the action under the true skill and the weighted cross-entropy, (B, T).

        Raises:
            UserError: If the batch does not say skills, or says others.
        """
        skills = self.true(batch)
        named = F.cross_entropy(self.skill(features).transpose(1, 2), skills, reduction="none")
        return self.head.loss(self.under(features, skills), batch) + self.skill_weight * named

    def true(self, batch: Mapping[str, Any]) -> Tensor:
        """Returns the skills that a batch says, (B, T); the first where a step is padding.

        Raises:
            UserError: If it does not say skills, or says others.
        """
        if "skills" not in batch:
            raise UserError(
                "a batch has no skills; learn from data whose steps say theirs (RearrangeData, or "
                "trajectories with skills)"
            )
        skills, mask = batch["skills"], batch.get("mask")
        skills = skills if mask is None else skills.masked_fill(~mask, 0)
        least, most = int(skills.min()), int(skills.max())
        if least < 0 or most >= self.skills:
            raise UserError(
                f"the data have skills from {least} to {most}, the model knows 0 to {self.skills - 1}; raise "
                "the model's skills"
            )
        return skills

    def sample(self, features: Tensor, streams: Streams | None = None) -> Tensor:
        """Returns the actions to take: of the likeliest skills, or of skills that are drawn."""
        skills = self.name(features)
        if streams is not None:
            skills = streams.choose(self.skill(features).softmax(dim=-1))
        return self.head.sample(self.under(features, skills), streams)

    def blank(self, *shape: int) -> Tensor:
        """Returns what stands where no action was taken yet."""
        return self.head.blank(*shape)

    def prepare(self, actions: Tensor) -> None:
        """Takes statistics of the actions of the training data."""
        self.head.prepare(actions)

    def get_classifier(self) -> nn.Module:
        """Returns the layer that says the actions."""
        return self.head.get_classifier()
