"""What all decision models share: spaces, an encoder of observations, a head of actions."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypedDict

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.rl.batch import Batch
from headway.rl.layers.actions import ActionFactory, ActionHead, actions_for
from headway.rl.layers.observations import (
    Moments,
    ObservationEncoder,
    ObservationFactory,
    VectorObservations,
    encoder_for,
)
from headway.rl.models.acting import ActingModel
from headway.rl.spaces import Box, Dict, Space, Spaces

# One number stands in for a size that the data will tell.
UNKNOWN = 1


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """What the training data say about sizes.

    Args:
        observations: Mean and deviation, of each named part where there are several.
        actions: Many actions, (N, *one action).
        return_scale: What returns are divided by.
        rewards: Many rewards, (N,); None if nobody says them.
        seen: Many observations, (N, *shape), where they are numbers of no picture; None of others.
    """

    observations: Moments | Mapping[str, Moments]
    actions: Tensor
    return_scale: float
    rewards: Tensor | None = None
    seen: Tensor | None = None


class DecisionOptions(TypedDict, total=False):
    """What a ``DecisionModel`` passes on."""

    spaces: dict[str, Any] | None
    observation_dim: int | None
    action_dim: int | None
    observations: ObservationFactory | None
    actions: ActionFactory | None


class DecisionModel(ActingModel):
    """A model that learns actions from trajectories and acts through a policy.

    Spaces, and statistics of observations, actions and returns, are part of the model: a checkpoint takes raw
    observations and gives raw actions, and refuses another environment.

    Args:
        dim: Channels of a token.
        spaces: What is seen and done, as ``headway.rl.spaces.Spaces.to_json`` writes it; where it is given,
            the two sizes below are not read; what the data say, when training begins, if None.
        observation_dim: Numbers of an observation, in short for the space of a vector.
        action_dim: Numbers of a continuous action, or how many discrete ones there are, likewise.
        observations: Builds what reads observations, ``(dim, space)``; what fits the space if None.
        actions: Builds what embeds, learns and samples actions, ``(dim, space)``; the model's own, or
            what fits the space, if None.
    """

    # Checkpoints from before the bounds were kept do not hold them: they are -1 and 1.
    may_miss: ClassVar[tuple[str, ...]] = ("actions.low", "actions.high")
    # Tensors of checkpoints from before observations had an encoder of their own.
    renamed: ClassVar[Mapping[str, str]] = {
        "observation_embedding.weight": "observation_embedding.linear.weight",
        "observation_embedding.bias": "observation_embedding.linear.bias",
        "observation_mean": "observation_embedding.mean",
        "observation_std": "observation_embedding.std",
    }
    # What embeds, learns and samples actions where nobody says.
    plain_actions: ClassVar[ActionFactory] = staticmethod(actions_for)
    # What stands in for observations that nobody has said yet.
    unseen: ClassVar[Space] = Box(shape=(UNKNOWN,))
    return_scale: Tensor

    def __init__(
        self,
        dim: int,
        *,
        spaces: dict[str, Any] | None = None,
        observation_dim: int | None = None,
        action_dim: int | None = None,
        observations: ObservationFactory | None = None,
        actions: ActionFactory | None = None,
    ) -> None:
        super().__init__()
        if observation_dim is not None and observation_dim < 1:
            raise UserError(f"observation_dim is {observation_dim}; it must be at least 1")
        self.dim = dim
        self._observations = observations if observations is not None else encoder_for
        self._actions = actions if actions is not None else type(self).plain_actions
        given = None if spaces is None else Spaces.from_json(spaces)
        self.init_args["spaces"] = None if given is None else given.to_json()
        # What is known from the beginning; the rest the data will tell.
        self.inferred = {
            "observation": given is None and observation_dim is None,
            "action": given is None and action_dim is None,
        }
        seen: Space = given.observation if given else self.unseen
        if given is None and observation_dim is not None:
            seen = Box(shape=(observation_dim,))
        self.observation_embedding: ObservationEncoder = self._encoder(seen)
        number = UNKNOWN if action_dim is None else action_dim
        self.actions: ActionHead = self._actions(dim, given.action if given else number)
        self.register_buffer("return_scale", torch.ones(()))

    @property
    def spaces(self) -> Spaces:
        """What it sees and does."""
        return Spaces(observation=self.observation_embedding.space, action=self.actions.space)

    @property
    def has_spaces(self) -> bool:
        """Whether it knows more of its spaces than their sizes: bounds, and where choices start."""
        return self.init_args["spaces"] is not None

    @property
    def observation_dim(self) -> int | None:
        """Numbers of an observation; None if it is no vector."""
        space = self.spaces.observation
        return space.size if isinstance(space, Box) else None

    @property
    def action_dim(self) -> int:
        """Numbers of a continuous action, or how many discrete ones there are."""
        return self.actions.action_dim

    @property
    def observation_mean(self) -> Tensor:
        """Mean of the observations of the training data, where they are numbers."""
        return self._vector().mean

    @property
    def observation_std(self) -> Tensor:
        """Deviation of the observations of the training data, where they are numbers."""
        return self._vector().std

    @abstractmethod
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns ``loss``, a scalar, and further scalars that are worth a line in the log."""

    def features(self, batch: Batch) -> Tensor:
        """Returns what is known before each action, (B, T, dim); of models that have such a thing.

        Raises:
            UserError: If this one has not.
        """
        raise UserError(f"{type(self).__name__} has no features of single steps")

    def predict(self, batch: Batch) -> Tensor:
        """Returns the likeliest actions, or logits, of each step of a batch, (B, T, ...)."""
        return self.actions.predict(self.features(batch))

    @property
    def has_statistics(self) -> bool:
        """Whether statistics of the training data were ever set, by training or by hand."""
        return self.observation_embedding.has_moments or bool(self.return_scale != 1)

    def prepare(self, statistics: Statistics) -> None:
        """Takes the statistics of the training data."""
        self.observation_embedding.set_moments(statistics.observations)
        self.return_scale.fill_(statistics.return_scale)
        if len(statistics.actions):
            self.actions.prepare(statistics.actions)

    def set_statistics(self, mean: Tensor, std: Tensor, return_scale: float) -> None:
        """Takes mean and deviation of vector observations (observation_dim,) and the scale of the returns."""
        self._vector().set_moments(Moments(mean, std))
        self.return_scale.fill_(return_scale)

    def get_classifier(self) -> nn.Module:
        """Returns the layer that computes the actions."""
        return self.actions.get_classifier()

    def set_spaces(self, spaces: dict[str, Any]) -> None:
        """Starts anew what reads other observations or says other actions, keeping the rest.

        Args:
            spaces: As of the constructor.
        """
        wanted = Spaces.from_json(spaces)
        self._observe(wanted.observation)
        self._act(wanted.action)

    def set_observation_dim(self, observation_dim: int) -> None:
        """Starts anew for observations of another number of numbers, keeping the rest."""
        self._observe(Box(shape=(observation_dim,)))

    def set_action_dim(self, action_dim: int) -> None:
        """Starts anew for another number of actions, keeping the rest."""
        self._act(type(self.actions).space_of(action_dim))

    def _encoder(self, space: Space) -> ObservationEncoder:
        try:
            return self._observations(self.dim, space)
        except UserError:
            if not self.inferred["observation"]:
                raise
            # It may read what the data will say, and not what stands in for it.
            return encoder_for(self.dim, space)

    def _observe(self, space: Space) -> None:
        # The same kind and size with other bounds is the same layer.
        if self.inferred["observation"] or form(space) != form(self.spaces.observation):
            made = self._observations(self.dim, space)
            self.observation_embedding = made.to(self.return_scale.device, self.return_scale.dtype)
        self.observation_embedding.space = space
        self._note("observation")

    def _act(self, space: Space) -> None:
        if form(space) != form(self.spaces.action):
            made = self._actions(self.dim, space)
            self.actions = made.to(self.return_scale.device, self.return_scale.dtype)
        self.actions.space = space
        self._note("action")

    def _note(self, part: str) -> None:
        self.inferred[part] = False
        self.init_args["spaces"] = self.spaces.to_json()

    def _vector(self) -> VectorObservations:
        encoder = self.observation_embedding
        if not isinstance(encoder, VectorObservations):
            raise UserError(f"observations are {encoder.space}; they have no one mean")
        return encoder


def form(space: Space) -> Any:
    """Returns what decides the layers of a space: kind and sizes, but neither bounds nor starts."""
    if isinstance(space, Dict):
        return {name: form(one) for name, one in space.parts.items()}
    return (space.shape, space.is_image) if isinstance(space, Box) else (type(space), space.n)
