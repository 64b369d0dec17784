"""DART: learning to act in an imagined world of words."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.module import evaluating
from headway.core.passed import Passed
from headway.core.systems import system
from headway.rl.batch import Batch, mean_of_steps
from headway.rl.layers.actions import ActionFactory, DiscreteActions
from headway.rl.layers.observations.picture_tokens import PictureTokens
from headway.rl.models.base import DecisionModel, DecisionOptions
from headway.rl.models.dart.actor import MemoryActor
from headway.rl.models.dart.dynamics import TokenDynamics
from headway.rl.models.dart.imagination import Imagined, imagine, lambda_returns
from headway.rl.models.dart.policy import WordPolicy
from headway.rl.spaces import Box, Discrete, Space


@system(
    id=192,
    name="DART",
    paper="https://arxiv.org/abs/2406.01361",
    claim="an actor that reads the discrete words of a world model learns in imagination alone; what it saw "
    "before reaches it through a memory token, and without one not at all",
    test="packages/rl/tests/models/test_dart.py",
)
class DART(DecisionModel):
    """Pictures become words, a decoder learns their world, and an actor learns in what it imagines.

    Its loss has three parts that share no gradient: words and back to pictures; the world model; and the
    actor, an encoder with a class token and memory tokens, which acts in worlds that are imagined from the
    beginning of each stretch (actor-critic with lambda returns). Each part waits until those before it have
    learned for a while. Stretches should begin where episodes do, for memory is empty there.

    Args:
        dim: Channels of a token.
        depth: Blocks of the world model, and of the actor.
        heads: Heads of both.
        max_timestep: Steps of the longest stretch, real or imagined.
        memory_tokens: Of the actor; 0 forgets.
        real_steps: Steps of a stretch that the actor only watches before it imagines.
        discount: Of later rewards.
        lambda_: How far returns are imagined, rather than said by the critic.
        imagined: Episodes that are imagined of each stretch.
        entropy: Weight of the entropy of the actions.
        waits: Updates before the world model begins to learn, and before the actor does.
        **decision: As of every ``DecisionModel``; observations are ``PictureTokens`` and actions single
            choices.

    Note:
        After the paper alone. Its vocabulary has 512 words, its pictures 64 x 64 pixels, its world model 10
        blocks. Advantages are divided by their deviation here.

    Shape:
        observations: (B, T, H, W, C) uint8. actions: (B, T) int64.

    Source:
        Agarwal et al. 2024, https://arxiv.org/abs/2406.01361, section 3.
    """

    plain_actions: ClassVar[ActionFactory] = DiscreteActions
    unseen: ClassVar[Space] = Box(shape=(8, 8, 3), low=0, high=255, dtype="uint8")
    updates: Tensor

    def __init__(
        self,
        *,
        dim: int = 64,
        depth: int = 2,
        heads: int = 4,
        max_timestep: int = 32,
        memory_tokens: int = 1,
        real_steps: int = 1,
        discount: float = 0.99,
        lambda_: float = 0.95,
        imagined: int = 1,
        entropy: float = 0.01,
        waits: Sequence[int] = (200, 400),
        **decision: Passed[DecisionOptions],
    ) -> None:
        if decision.get("observations") is None:
            decision["observations"] = PictureTokens
        super().__init__(dim, **decision)
        for name, share in (("discount", discount), ("lambda_", lambda_)):
            if not 0 <= share <= 1:
                raise UserError(f"{name} is {share}; it must lie between 0 and 1")
        if not 1 <= real_steps < max_timestep:
            raise UserError(
                f"real_steps is {real_steps}; it must lie between 1 and {max_timestep - 1}, and leave one of "
                "max_timestep"
            )
        if imagined < 1:
            raise UserError(f"imagined is {imagined}; it must be at least 1")
        if memory_tokens < 0 or len(waits) != 2 or min(waits) < 0:
            raise UserError(
                f"memory_tokens is {memory_tokens} and waits {list(waits)}; they must be at least 0, "
                "and waits two"
            )
        self.depth, self.heads, self.max_timestep = depth, heads, max_timestep
        self.memory_tokens, self.real_steps, self.imagined = memory_tokens, real_steps, imagined
        self.discount, self.lambda_, self.entropy = discount, lambda_, entropy
        self.waits = tuple(waits)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._build()

    @property
    def eyes(self) -> PictureTokens:
        """What makes words of pictures."""
        assert isinstance(self.observation_embedding, PictureTokens)
        return self.observation_embedding

    @property
    def start(self) -> int:
        """The first action."""
        assert isinstance(self.actions.space, Discrete)
        return self.actions.space.start

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the losses of words, world and actor, and their sum; parts wait for each other."""
        pictures, mask = batch["observations"], batch["mask"]
        assert isinstance(pictures, Tensor)
        self._check(pictures)
        if self.training:
            self.updates += 1
        found = {"pictures": self.eyes.loss(pictures[mask])}
        if not self.training or self.updates > self.waits[0]:
            with torch.no_grad():
                codes = self.eyes.codes(pictures)
            found |= self._world_losses(codes, batch)
            if not self.training or self.updates > self.waits[1]:
                found |= self._actor_losses(codes, batch)
        # The mean reward is worth a line, but it is no loss.
        total = sum(value for name, value in found.items() if name != "imagined_return")
        assert isinstance(total, Tensor)
        return {"loss": total, **found}

    def _world_losses(self, codes: Tensor, batch: Batch) -> dict[str, Tensor]:
        mask = batch["mask"]
        tokens = self.eyes.embed(codes)
        actions = batch["actions"].masked_fill(~mask, self.start)
        logits, outcome = self.dynamics(tokens, self.actions.embed(actions), batch["lengths"])
        words = F.cross_entropy(logits.flatten(0, 2), codes[:, 1:].flatten(), reduction="none")
        words = words.view(codes[:, 1:].shape).mean(dim=2)
        rewards = batch["rewards"].masked_fill(~mask, 0.0) / self.return_scale
        missed = mean_of_steps((outcome.rewards - rewards).square(), mask)
        ended = batch["terminated"].to(outcome.ends)
        end = F.binary_cross_entropy_with_logits(outcome.ends, ended, reduction="none")
        return {
            "words": mean_of_steps(words, mask[:, 1:]),
            # Rewards may be rare: what is left of their variance.
            "rewards": missed / rewards[mask].var(correction=0).clamp_min(1e-4),
            "ends": mean_of_steps(end, mask),
        }

    def _actor_losses(self, codes: Tensor, batch: Batch) -> dict[str, Tensor]:
        real = min(self.real_steps, codes.shape[1])
        rows = (batch["lengths"] >= real).nonzero()[:, 0].repeat(self.imagined)
        steps = min(self.max_timestep, max(real, codes.shape[1]))
        with evaluating(self):
            episodes = imagine(self, codes[rows, :real], batch["actions"][rows, : real - 1], steps)
        logits, values = self._read(episodes)
        returns = lambda_returns(
            episodes.rewards,
            episodes.goes_on,
            values.detach(),
            discount=self.discount,
            lambda_=self.lambda_,
        )
        alive = torch.cat([torch.ones_like(returns[:, :1]), episodes.goes_on[:, :-1]], dim=1)
        weight = alive.cumprod(dim=1)
        weight[:, : real - 1] = 0  # what others did
        likely = logits.log_softmax(dim=-1)
        chosen = likely.gather(2, episodes.actions[..., None])[..., 0]
        advantage = returns - values[:, :-1].detach()
        # Rewards may be rare, and small.
        advantage = advantage / advantage[weight > 0].std(correction=0).clamp_min(1e-3)
        spread = -(likely.exp() * likely).sum(dim=-1)

        def mean(x: Tensor) -> Tensor:
            return (x * weight).sum() / weight.sum().clamp_min(1.0)

        return {
            "actor": mean(-chosen * advantage - self.entropy * spread),
            "critic": mean((values[:, :-1] - returns).square()),
            "imagined_return": returns[:, real - 1].mean() * self.return_scale,
        }

    def _read(self, episodes: Imagined) -> tuple[Tensor, Tensor]:
        """Returns logits of the actions (B, T, N), and values of all pictures (B, T + 1)."""
        memory = self.actor.first_memory(len(episodes.codes))
        words = self.actor.embed(episodes.codes.detach())
        logits, values = [], []
        for picture in words.unbind(dim=1):
            features, memory = self.actor(picture, memory)
            logits.append(self.actions.predict(features))
            values.append(self.actor.value(features)[:, 0])
        return torch.stack(logits[:-1], dim=1), torch.stack(values, dim=1)

    def features(self, batch: Batch) -> Tensor:
        """Returns what the actor knows at each step, (B, T, dim), where memory is empty at the first one."""
        pictures = batch["observations"]
        assert isinstance(pictures, Tensor)
        memory, found = self.actor.first_memory(len(pictures)), []
        for words in self.actor.embed(self.eyes.codes(pictures)).unbind(dim=1):
            features, memory = self.actor(words, memory)
            found.append(features)
        return torch.stack(found, dim=1)

    def forward(self, observations: Tensor) -> Tensor:
        """Returns the logits of the actions of each step of pictures (B, T, H, W, C)."""
        batch: Any = {"observations": observations}
        return self.predict(batch)

    def policy(self, *, target_return: Any = 0.0, seed: int = 0) -> WordPolicy:
        """Returns what acts with it; see ``DecisionModel``. No return can be asked for."""
        return WordPolicy(self, seed=seed)

    def _check(self, pictures: Tensor) -> None:
        if pictures.shape[1] > self.max_timestep:
            raise UserError(
                f"stretches have {pictures.shape[1]} steps, the world knows {self.max_timestep}; raise the "
                "model's max_timestep"
            )

    def _observe(self, space: Space) -> None:
        tokens = self.eyes.tokens_per_picture
        super()._observe(space)
        if self.eyes.tokens_per_picture != tokens:
            self._build()

    def _act(self, space: Space) -> None:
        if not isinstance(space, Discrete):
            raise UserError(f"DART chooses one of several actions; those of the data are {space}")
        super()._act(space)

    def _build(self) -> None:
        """Builds what depends on the words of a picture."""
        words, tokens = self.eyes.embedding.num_embeddings, self.eyes.tokens_per_picture
        sizes: dict[str, int] = {"depth": self.depth, "heads": self.heads, "tokens": tokens}
        world = TokenDynamics(self.dim, words=words, steps=self.max_timestep, **sizes)
        actor = MemoryActor(self.dim, words=words, memory_tokens=self.memory_tokens, **sizes)
        self.dynamics = world.to(self.return_scale.device, self.return_scale.dtype)
        self.actor = actor.to(self.return_scale.device, self.return_scale.dtype)
