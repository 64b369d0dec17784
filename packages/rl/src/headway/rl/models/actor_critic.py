"""What models share that learn how good actions are: an actor, two critics, copies that follow them."""

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.passed import Passed
from headway.rl.batch import Batch, mean_of_steps
from headway.rl.layers.actions import ScaledActions
from headway.rl.layers.observations import ObservationEncoder, Observations
from headway.rl.models.base import DecisionModel, DecisionOptions, Statistics, form
from headway.rl.models.judging import Judging, check_following, slow
from headway.rl.models.reactive_policy import ReactivePolicy
from headway.rl.spaces import Space


class ActorCriticOptions(DecisionOptions, total=False):
    """What an ``ActorCritic`` passes on."""

    dim: int
    depth: int
    discount: float
    target_rate: float


class Worth(nn.Module):
    """Says what an observation, or an observation and an action, is worth.

    Args:
        encoder: Reads observations.
        depth: Hidden layers.
        action_dim: Numbers of an action; None for observations alone.

    Shape:
        observations: (B, T, *shape). actions: (B, T, action_dim), scaled. Output: (B, T).
    """

    def __init__(
        self, encoder: ObservationEncoder, depth: int, action_dim: int | None = None
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.action = None if action_dim is None else nn.Linear(action_dim, encoder.dim)
        self.hidden = hidden(encoder.dim, depth)
        self.head = nn.Linear(encoder.dim, 1)

    def forward(self, observations: Observations, actions: Tensor | None = None) -> Tensor:
        """Returns the worth."""
        x = self.encoder(observations)
        if self.action is not None:
            x = x + self.action(actions)
        return self.head(self.hidden(x))[..., 0]


def hidden(dim: int, depth: int) -> nn.Sequential:
    """Returns the layers behind a first linear one."""
    layers: list[nn.Module] = [nn.ReLU()]
    for _ in range(depth - 1):
        layers += [nn.Linear(dim, dim), nn.ReLU()]
    return nn.Sequential(*layers)


class ActorCritic(Judging, DecisionModel):
    """An actor of what is seen now, two critics, and slow copies of them.

    ``headway.rl.tasks.OfflineActorCritic`` trains it. Its losses reach each its own part, so one optimiser
    takes the steps of all of them at once. Actions are numbers; a batch has ``next_observations``.

    Args:
        dim: Width of all hidden layers.
        depth: Hidden layers.
        discount: Of what comes a step later.
        target_rate: How far the copies move towards what they follow at each step.
        **decision: As of every ``DecisionModel``: spaces, observation_dim, action_dim, observations, actions.

    Shape:
        observations: (B, T, *shape). Output: actions (B, T, *shape).

    Raises:
        UserError: If an argument is out of its range, or actions are choices.
    """

    max_timestep: ClassVar[None] = None

    def __init__(
        self,
        *,
        dim: int = 256,
        depth: int = 2,
        discount: float = 0.99,
        target_rate: float = 0.005,
        **decision: Passed[DecisionOptions],
    ) -> None:
        super().__init__(dim, **decision)
        if depth < 1:
            raise UserError(f"depth is {depth}; it must be at least 1")
        self.depth = depth
        self._judge_by(discount=discount, target_rate=target_rate)
        self._check(self.actions.space)
        self.actor = hidden(dim, depth)
        self._judge()

    def act(self, observations: Observations) -> Tensor:
        """Returns what the head of actions reads, (B, T, dim)."""
        return self.actor(self.observation_embedding(observations))

    def forward(self, observations: Observations) -> Tensor:
        """Returns the actions."""
        return self.actions.predict(self.act(observations))

    def features(self, batch: Batch) -> Tensor:
        """Returns what is known before each action of a batch, (B, T, dim)."""
        return self.act(batch["observations"])

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the loss of each part at each step, (B, T)."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the sum of the mean losses of the parts as ``loss``, and each of them."""
        check_following(self, batch)
        means = {
            name: mean_of_steps(value, batch["mask"]) for name, value in self.losses(batch).items()
        }
        return {"loss": torch.stack(list(means.values())).sum(), **means}

    def followed(self) -> list[tuple[nn.Module, nn.Module]]:
        """Returns the copies, and what they follow."""
        return [(self.slow_critics, self.critics)]

    def inside(self, actions: Tensor) -> Tensor:
        """Returns actions as critics read them, (B, T, action_dim)."""
        assert isinstance(self.actions, ScaledActions)
        return self.actions.scaled(actions)

    def least(self, observations: Observations, actions: Tensor) -> Tensor:
        """Returns the lower of what both slow critics say of scaled actions, (B, T)."""
        said = [critic(observations, actions) for critic in self.slow_critics]
        return torch.minimum(*said)

    def errors(self, batch: Batch, coming: Tensor) -> Tensor:
        """Returns the squared errors of both critics, given what the next observations are worth, (B, T)."""
        left = self.discount * (~batch["terminated"]).to(coming)
        wanted = (batch["rewards"] / self.return_scale + left * coming).detach()
        taken = self.inside(batch["actions"])
        said = [critic(batch["observations"], taken) for critic in self.critics]
        return sum(((one - wanted).square() for one in said), torch.zeros_like(wanted))

    def prepare(self, statistics: Statistics) -> None:
        """Takes the statistics of the training data."""
        super().prepare(statistics)
        for module in self.modules():
            if isinstance(module, ObservationEncoder):
                module.set_moments(statistics.observations)

    def policy(self, *, target_return: Any = 0.0, seed: int = 0) -> ReactivePolicy:
        """Returns what acts with it; it asks for no return."""
        return ReactivePolicy(self, seed=seed)

    def _worth(self, *, of_actions: bool) -> Worth:
        encoder = self._observations(self.dim, self.observation_embedding.space)
        made = Worth(encoder, self.depth, self.action_dim if of_actions else None)
        return made.to(self.return_scale.device, self.return_scale.dtype)

    def _judge(self) -> None:
        """Builds what depends on the spaces besides the actor."""
        self.critics = nn.ModuleList([self._worth(of_actions=True) for _ in range(2)])
        self.slow_critics = slow(self.critics)

    def _check(self, space: Space) -> None:
        if not isinstance(self.actions, ScaledActions):
            raise UserError(
                f"{type(self).__name__} learns actions that are numbers; those are {space}: use a decision "
                "transformer, or behaviour cloning"
            )

    def _observe(self, space: Space) -> None:
        other = form(space) != form(self.spaces.observation)
        super()._observe(space)
        if other:
            self._judge()

    def _act(self, space: Space) -> None:
        other = form(space) != form(self.spaces.action)
        super()._act(space)
        self._check(space)
        if other:
            self._judge()
