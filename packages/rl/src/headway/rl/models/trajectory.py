"""What models of trajectories share: tokens of every step, in order, through a causal decoder."""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import FeedForwardFactory, MixerFactories
from headway.core.cache import Cache, CacheGroup
from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.module import Module
from headway.core.norms import LayerNorm
from headway.core.stacks import Decoder
from headway.core.stacks.decoder import CausalSelfAttention
from headway.core.stacks.stack import BlockFactory
from headway.rl.layers import ActionSpace, ContinuousActions

ReluMLP = partial(MLP, activation=nn.ReLU)


class TrajectoryModel(Module):
    """A causal decoder over the tokens of each step; the action token is the last one of its step.

    The statistics of the observations and the scale of the returns are buffers: a checkpoint takes raw
    observations and returns, and cannot be used with those of another data set.

    Args:
        observation_dim: Numbers of an observation; those of the data, when training begins, if None.
        action_dim: Numbers of a continuous action, or how many discrete ones there are; those of the data if
            None.
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        context_length: Steps that the model looks back, the present one included.
        max_timestep: Steps of the longest episode; later ones count as the last.
        actions: Builds what embeds and predicts actions, ``(dim, action_dim)``.
        mixer: Builds the causal token mixer, ``(dim, heads)``; a sequence is cycled over the depth.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        token_norm: Builds the norm of the tokens in front of the decoder, ``(dim)``; ``norm`` if None.
        block: Builds a block, ``(dim, heads, ...)``.
        dropout: Probability of dropping a channel of an embedded token in training.
        drop_path: Rate of stochastic depth of the last block.

    Shape:
        observations: (B, T, observation_dim). actions: (B, T, action_dim), or (B, T) int64 of discrete
        ones. returns_to_go: (B, T). timesteps: (B, T) int64. mask: (B, T), True where a step is real.
        Output: actions or logits (B, T, action_dim).
    """

    tokens_per_step: ClassVar[int]
    reads_returns: ClassVar[bool] = False
    # Bounds of -1 and 1: checkpoints from before they were kept do not hold them.
    may_miss: ClassVar[tuple[str, ...]] = ("actions.low", "actions.high")
    observation_mean: Tensor
    observation_std: Tensor
    return_scale: Tensor

    def __init__(
        self,
        *,
        observation_dim: int | None = None,
        action_dim: int | None = None,
        dim: int = 128,
        depth: int = 3,
        heads: int = 1,
        context_length: int = 20,
        max_timestep: int = 1000,
        actions: Callable[[int, int], ActionSpace] = ContinuousActions,
        mixer: MixerFactories = CausalSelfAttention,
        feedforward: FeedForwardFactory = ReluMLP,
        norm: Callable[[int], nn.Module] = LayerNorm,
        token_norm: Callable[[int], nn.Module] | None = None,
        block: BlockFactory = PreNormBlock,
        dropout: float = 0.1,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        # One number stands in for a size that the data will tell.
        self.inferred = {
            name: value is None
            for name, value in (("observation_dim", observation_dim), ("action_dim", action_dim))
        }
        observation_dim = 1 if observation_dim is None else observation_dim
        action_dim = 1 if action_dim is None else action_dim
        for name, value in (
            ("observation_dim", observation_dim),
            ("context_length", context_length),
            ("max_timestep", max_timestep),
        ):
            if value < 1:
                raise UserError(f"{name} is {value}; it must be at least 1")
        self.dim, self.observation_dim = dim, observation_dim
        self.context_length, self.max_timestep = context_length, max_timestep
        self.timestep_embedding = nn.Embedding(max_timestep, dim)
        self.observation_embedding = nn.Linear(observation_dim, dim)
        self.return_embedding = nn.Linear(1, dim) if self.reads_returns else None
        self.actions = actions(dim, action_dim)
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
        self.register_buffer("observation_mean", torch.zeros(observation_dim))
        self.register_buffer("observation_std", torch.ones(observation_dim))
        self.register_buffer("return_scale", torch.ones(()))

    @property
    def action_dim(self) -> int:
        """Numbers of a continuous action, or how many discrete ones there are."""
        return self.actions.action_dim

    @abstractmethod
    def embed(
        self, observations: Tensor, actions: Tensor, returns_to_go: Tensor, timesteps: Tensor
    ) -> Tensor:
        """Returns the tokens of each step, the action last, (B, T, tokens_per_step, dim)."""

    @property
    def has_statistics(self) -> bool:
        """Whether statistics of observations and returns were ever set, by training or by hand."""
        untouched = (self.observation_mean == 0).all() & (self.observation_std == 1).all()
        return not bool(untouched & (self.return_scale == 1))

    def normalise(self, observations: Tensor) -> Tensor:
        """Returns observations in units of the training data."""
        return (observations - self.observation_mean) / self.observation_std

    def at_time(self, timesteps: Tensor) -> Tensor:
        """Returns what is added to the tokens of each step, (B, T, dim)."""
        return self.timestep_embedding(timesteps.clamp(0, self.max_timestep - 1))

    def forward(
        self,
        observations: Tensor,
        actions: Tensor,
        returns_to_go: Tensor,
        timesteps: Tensor,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Predicts the action of each step from what came before it."""
        layout = None
        if mask is not None:
            # Padding may hold anything; zero it before a product carries it into a gradient.
            hidden = ~mask
            observations = observations.masked_fill(hidden[..., None], 0)
            actions = actions.masked_fill(hidden[..., None] if actions.ndim == 3 else hidden, 0)
            returns_to_go = returns_to_go.masked_fill(hidden, 0)
            timesteps = timesteps.masked_fill(hidden, 0)
            layout = Layout(valid=mask.repeat_interleave(self.tokens_per_step, dim=1))
        tokens = self.embed(observations, actions, returns_to_go, timesteps).flatten(1, 2)
        x = self.decode(tokens, layout)
        # The token before the action has seen everything up to the observation.
        return self.actions.predict(x[:, self.tokens_per_step - 2 :: self.tokens_per_step])

    def decode(self, tokens: Tensor, layout: Layout | None, cache: Cache | None = None) -> Tensor:
        """Runs tokens (B, N, dim) through norm and decoder."""
        return self.decoder(self.dropout(self.norm(tokens)), layout, cache=cache)[0]

    def init_cache(self, batch: int) -> CacheGroup:
        """Returns an empty cache for a context of each of ``batch`` trajectories."""
        return self.decoder.init_cache(batch, self.context_length * self.tokens_per_step)

    def set_statistics(self, mean: Tensor, std: Tensor, return_scale: float) -> None:
        """Takes the statistics of a data set.

        Args:
            mean: Of the observations, (observation_dim,).
            std: Their deviation; a constant entry should have 1.
            return_scale: What returns are divided by.
        """
        self.observation_mean.copy_(mean)
        self.observation_std.copy_(std)
        self.return_scale.fill_(return_scale)

    def get_classifier(self) -> nn.Module:
        """Returns the layer that computes the actions."""
        return self.actions.head

    def set_action_dim(self, action_dim: int) -> None:
        """Starts anew for another number of actions, keeping the rest."""
        self.inferred["action_dim"] = False
        self.actions.resize(action_dim)
        self.init_args["action_dim"] = action_dim

    def set_observation_dim(self, observation_dim: int) -> None:
        """Starts anew for observations of another size, keeping the rest."""
        self.inferred["observation_dim"] = False
        weight = self.observation_embedding.weight
        self.observation_dim = self.init_args["observation_dim"] = observation_dim
        self.observation_embedding = nn.Linear(observation_dim, self.dim).to(weight)
        self.observation_mean = weight.new_zeros(observation_dim)
        self.observation_std = weight.new_ones(observation_dim)
