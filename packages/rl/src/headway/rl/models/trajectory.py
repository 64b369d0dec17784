"""What models of trajectories share: tokens of every step, in order, through a causal decoder."""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.cache import CacheGroup
from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.norms import LayerNorm
from headway.core.passed import Passed
from headway.core.stacks import Decoder
from headway.core.stacks.decoder import CausalSelfAttention
from headway.rl.batch import Batch, mean_of_steps
from headway.rl.layers.observations import Observations, VectorObservations, each
from headway.rl.models.base import DecisionModel, DecisionOptions
from headway.rl.models.sequence_policy import SequencePolicy

ReluMLP = partial(MLP, activation=nn.ReLU)


class TrajectorySizes(DecisionOptions, total=False):
    """What a ``TrajectoryModel`` with mixers and feed-forwards of its own passes on."""

    dim: int
    depth: int
    heads: int
    context_length: int
    max_timestep: int
    norm: Callable[[int], nn.Module]
    token_norm: Callable[[int], nn.Module] | None
    block: BlockFactory
    dropout: float
    drop_path: float


class TrajectoryModelOptions(TrajectorySizes, total=False):
    """What any other ``TrajectoryModel`` passes on."""

    mixer: MixerFactories
    feedforward: FeedForwardFactory


class TrajectoryModel(DecisionModel):
    """A causal decoder over the tokens of each step; an action token is the last of its step.

    Args:
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        context_length: Steps that the model looks back, the present one included.
        max_timestep: Steps of the longest episode; later ones count as the last.
        streaming: Whether the past is never cut in play: the context grows with the episode, and what mixers
            no longer see they forget by themselves (windows, convolutions, recurrence). Then a step always
            costs its new tokens alone. Train it on stretches at least as long as the mixers look back.
        mixer: Builds the causal token mixer, ``(dim, heads)``; a sequence is cycled over the depth.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        token_norm: Builds the norm of the tokens in front of the decoder, ``(dim)``; ``norm`` if None.
        block: Builds a block, ``(dim, heads, ...)``.
        dropout: Probability of dropping a channel of an embedded token in training.
        drop_path: Rate of stochastic depth of the last block.
        **decision: As of every ``DecisionModel``: spaces, observation_dim, action_dim, observations, actions.

    Shape:
        observations: (B, T, *shape), or several such by name. actions: (B, T, *shape), or (B, T) int64 of
        discrete ones. returns_to_go: (B, T), or (B, T, 1). timesteps: (B, T) int64. mask: (B, T), True where
        a step is real. Output: actions or logits (B, T, action_dim).
    """

    tokens_per_step: ClassVar[int]
    # Whether the last token of a step is its action.
    reads_actions: ClassVar[bool] = True

    def __init__(
        self,
        *,
        dim: int = 128,
        depth: int = 3,
        heads: int = 1,
        context_length: int = 20,
        max_timestep: int = 1000,
        streaming: bool = False,
        mixer: MixerFactories = CausalSelfAttention,
        feedforward: FeedForwardFactory = ReluMLP,
        norm: Callable[[int], nn.Module] = LayerNorm,
        token_norm: Callable[[int], nn.Module] | None = None,
        block: BlockFactory = PreNormBlock,
        dropout: float = 0.1,
        drop_path: float = 0.0,
        **decision: Passed[DecisionOptions],
    ) -> None:
        super().__init__(dim, **decision)
        for name, value in (("context_length", context_length), ("max_timestep", max_timestep)):
            if value < 1:
                raise UserError(f"{name} is {value}; it must be at least 1")
        self.context_length, self.max_timestep = context_length, max_timestep
        self.streaming = streaming
        self.timestep_embedding = nn.Embedding(max_timestep, dim)
        self.return_embedding = nn.Linear(1, dim) if self.reads_returns else None
        self.norm = (token_norm if token_norm is not None else norm)(dim)
        self.dropout = Dropout(dropout)
        self.decoder = Decoder(
            dim,
            depth,
            heads,
            mixer=mixer,
            feedforward=feedforward,
            norm=norm,
            block=block,
            drop_path=drop_path,
        )
        init_transformer_(self.decoder)

    @property
    def tokens_before_action(self) -> int:
        """Tokens of a step that are known before its action is chosen."""
        return self.tokens_per_step - self.reads_actions

    @abstractmethod
    def embed(
        self, observations: Observations, actions: Tensor, returns_to_go: Tensor, timesteps: Tensor
    ) -> Tensor:
        """Returns the tokens of each step, (B, T, tokens_per_step, dim); the action is last if it is read."""

    def normalise(self, observations: Tensor) -> Tensor:
        """Returns vector observations in units of the training data."""
        assert isinstance(self.observation_embedding, VectorObservations)
        return self.observation_embedding.normalise(observations)

    def at_time(self, timesteps: Tensor) -> Tensor:
        """Returns what is added to the tokens of each step, (B, T, dim)."""
        return self.timestep_embedding(timesteps.clamp(0, self.max_timestep - 1))

    def forward(
        self,
        observations: Observations,
        actions: Tensor,
        returns_to_go: Tensor,
        timesteps: Tensor,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Predicts the action of each step from what came before it."""
        layout = None
        if mask is not None:
            layout = Layout(valid=mask.repeat_interleave(self.tokens_per_step, dim=1))
        steps = (observations, actions, returns_to_go, timesteps)
        return self.actions.predict(self._features(steps, mask, layout))

    def features(self, batch: Batch) -> Tensor:
        """Returns what is known before each action of a batch, (B, T, dim)."""
        steps = (
            batch["observations"],
            batch["actions"],
            batch["returns_to_go"],
            batch["timesteps"],
        )
        layout = Layout(lengths=batch["lengths"] * self.tokens_per_step)
        return self._features(steps, batch["mask"], layout)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the mean loss of the actions of the real steps."""
        losses = self.actions.loss(self.features(batch), batch)
        return {"loss": mean_of_steps(losses, batch["mask"])}

    def _features(
        self, steps: tuple[Any, Tensor, Tensor, Tensor], mask: Tensor | None, layout: Layout | None
    ) -> Tensor:
        observations, actions, returns_to_go, timesteps = steps
        if returns_to_go.ndim == 3 and returns_to_go.shape[-1] == 1:
            returns_to_go = returns_to_go[..., 0]
        if mask is not None:
            # Padding may hold anything; zero it before a product carries it into a gradient.
            hidden = ~mask
            observations = hide(observations, hidden)
            actions, returns_to_go = hide(actions, hidden), hide(returns_to_go, hidden)
            timesteps = hide(timesteps, hidden)
        tokens = self.embed(observations, actions, returns_to_go, timesteps).flatten(1, 2)
        x = self.decode(tokens, layout)
        # The token before the action has seen everything up to the observation.
        return x[:, self.tokens_before_action - 1 :: self.tokens_per_step]

    def enter(self, tokens: Tensor) -> Tensor:
        """Returns tokens as the decoder takes them: each by itself, so that a step enters but once."""
        return self.dropout(self.norm(tokens))

    def decode(self, tokens: Tensor, layout: Layout | None) -> Tensor:
        """Runs tokens (B, N, dim) through norm and decoder."""
        return self.decoder(self.enter(tokens), layout)[0]

    def init_cache(self, batch: int) -> CacheGroup:
        """Returns an empty cache for the longest context of each of ``batch`` trajectories."""
        steps = self.max_timestep if self.streaming else self.context_length
        return self.decoder.init_cache(batch, steps * self.tokens_per_step)

    def policy(self, *, target_return: Any = 0.0, seed: int = 0) -> SequencePolicy:
        """Returns what acts with it; see ``DecisionModel``."""
        return SequencePolicy(self, target_return=target_return, seed=seed)


def before(values: Tensor) -> Tensor:
    """Returns what stood a step before, (B, T, ...), and zeros at the first step."""
    first = torch.arange(values.shape[1], device=values.device) == 0
    shape = (1, -1, *[1] * (values.ndim - 2))
    return values.roll(1, dims=1).masked_fill(first.reshape(shape), 0.0)


def hide(values: Any, hidden: Tensor) -> Any:
    """Returns values with zeros where steps are hidden.

    Shape:
        values: (B, T, ...), or several such by name. hidden: (B, T).
    """

    def zeroed(x: Tensor) -> Tensor:
        return x.masked_fill(hidden.reshape(*hidden.shape, *[1] * (x.ndim - 2)), 0)

    return each(zeroed, values)
