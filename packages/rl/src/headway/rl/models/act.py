"""Action chunking with transformers."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.blocks import PostNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactory
from headway.core.blocks.residual import NormFactory
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.mixers import PositionedCrossAttention, PositionedSelfAttention
from headway.core.norms import LayerNorm
from headway.core.passed import Passed
from headway.core.positions import SinusoidalPosition
from headway.core.stacks import Encoder, QueryDecoder
from headway.core.systems import system
from headway.rl.batch import Batch, mean_of_steps
from headway.rl.layers.actions import ActionFactory, ContinuousActions
from headway.rl.layers.observations import ObservationEncoder, Observations, encoder_for, rows_of
from headway.rl.layers.streams import Streams
from headway.rl.models.base import DecisionOptions, Statistics
from headway.rl.models.chunk import ChunkModel
from headway.rl.spaces import Box, Dict, Space

AbsoluteError = partial(ContinuousActions, bounded=False, scaling="statistics", error="absolute")
ReluMLP = partial(MLP, activation=nn.ReLU)


@system(
    id=94,
    name="ACT",
    paper="https://arxiv.org/abs/2304.13705",
    claim="chunks of actions get over waiting, which holds up a policy of single steps; equal to "
    "lerobot's with copied weights",
    test="packages/rl/tests/models/test_act.py",
)
class ACT(ChunkModel):
    """The decoder of a conditional variational autoencoder: chunks of actions from what is seen and a style.

    In training an encoder reads the chunk that was done and says what its style was, as a distribution that
    is held near the standard normal one; the style, and a token for each part of the observation, go through
    an encoder, and one query for each action reads them. In play the style is zero, so the same is done each
    time where the same is seen.

    Args:
        dim: Channels of a token, even.
        depth: Blocks of the encoder.
        decoder_depth: Blocks of the decoder.
        style_depth: Blocks of the encoder of the style.
        heads: Heads of the mixers.
        horizon: Actions of a chunk.
        taken: How many are carried out before the next chunk is asked for; all if None.
        ensemble: Weight of temporal ensembling (0.01 as published); see ``ChunkModel``.
        style_dim: Numbers of a style.
        style_parts: Names of the observations that the style is read from, beside the actions; all but
            pictures if None.
        style_weight: Weight of the divergence of the style from the standard normal distribution.
        feedforward: Builds the feed-forwards, ``(dim)``; an MLP with ReLU.
        norm: Builds the norms, ``(dim)``.
        block: Builds the blocks, ``(dim, heads, ...)``.
        dropout: Probability of dropping a channel that leaves a mixer, in training.
        **decision: As of every ``DecisionModel``: spaces, observation_dim, action_dim, observations, actions
            (the absolute error, in deviations of the training data, if None).

    Shape:
        observations: (B, 1, *shape), or several such by name. Output: (B, horizon, *shape of an action).

    Note:
        The authors' code reads the first block of its decoder alone, so its seven act as one
        (https://github.com/tonyzhaozh/act/issues/25); here all blocks count, and one is the default. It
        divides the error by all actions, those that pad included; here by the real ones, as lerobot does.
        Pictures have one token each, or, with ``CameraObservations``, one for each place of a map; the style
        is not read from them.

    Source:
        Zhao et al. 2023, https://arxiv.org/abs/2304.13705, section 4 and algorithms 1 and 2.
    """

    plain_actions: ClassVar[ActionFactory] = staticmethod(AbsoluteError)

    def __init__(
        self,
        *,
        dim: int = 256,
        depth: int = 4,
        decoder_depth: int = 1,
        style_depth: int = 4,
        heads: int = 8,
        horizon: int = 20,
        taken: int | None = None,
        ensemble: float | None = None,
        style_dim: int = 32,
        style_parts: Sequence[str] | None = None,
        style_weight: float = 10.0,
        feedforward: FeedForwardFactory = ReluMLP,
        norm: NormFactory = partial(LayerNorm, eps=1e-5),  # noqa: B008
        block: BlockFactory = PostNormBlock,
        dropout: float = 0.1,
        **decision: Passed[DecisionOptions],
    ) -> None:
        super().__init__(dim, horizon=horizon, taken=taken, ensemble=ensemble, **decision)
        if style_dim < 1 or style_weight < 0:
            raise UserError(
                f"style_dim is {style_dim} and style_weight {style_weight}; at least 1 and 0 are needed"
            )
        self.style_dim, self.style_weight = style_dim, style_weight
        self.style_parts = None if style_parts is None else tuple(style_parts)
        self_mixer: MixerFactory = partial(PositionedSelfAttention, out_dropout=dropout)
        cross: MixerFactory = partial(PositionedCrossAttention, out_dropout=dropout)
        parts: dict[str, Any] = {
            "mixer": self_mixer,
            "feedforward": feedforward,
            "norm": norm,
            "block": block,
            "final_norm": False,
        }
        self.class_token = nn.Parameter(torch.randn(dim))
        self.place = SinusoidalPosition(dim)
        self.style_encoder = Encoder(dim, style_depth, heads, **parts)
        self.style_statistics = nn.Linear(dim, 2 * style_dim)
        self.style_embedding = nn.Linear(style_dim, dim)
        self.encoder = Encoder(dim, depth, heads, **parts)
        self.decoder = QueryDecoder(
            dim, decoder_depth, heads, cross=cross, **{**parts, "final_norm": True}
        )
        self.queries = nn.Parameter(torch.randn(horizon, dim))
        for stack in (self.style_encoder, self.encoder, self.decoder):
            init_transformer_(stack)
        self._read_observations()

    def _read_observations(self) -> None:
        """Makes what depends on the space of the observations."""
        like = self.class_token
        space = without_pictures(self.spaces.observation)
        if self.style_parts is not None and isinstance(space, Dict):
            kept = {name: one for name, one in space.parts.items() if name in self.style_parts}
            space = Dict(parts=kept) if kept else None
        seen = None if space is None else encoder_for(self.dim, space)
        self.style_observations: ObservationEncoder | None = None if seen is None else seen.to(like)
        # Places of the style and of each part of the observation; maps of cameras have their own.
        parts = self.observation_embedding.learned_positions
        self.places = nn.Parameter(torch.randn(1 + parts, self.dim).to(like))

    def _observe(self, space: Space) -> None:
        before = self.observation_embedding
        super()._observe(space)
        if self.observation_embedding is not before:
            self._read_observations()

    def prepare(self, statistics: Statistics) -> None:
        """Takes the statistics of the training data."""
        super().prepare(statistics)
        if self.style_observations is not None:
            self.style_observations.set_moments(self._shown(statistics.observations))

    def _shown(self, values: Any) -> Any:
        """Returns those parts of observations that the style is read from."""
        space = self.style_observations.space if self.style_observations is not None else None
        if not isinstance(space, Dict):
            return values
        return {name: one for name, one in values.items() if name in space.parts}

    def style(self, seen: Observations, actions: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and logarithm of the variance of the style of chunks, (B, style_dim) each."""
        tokens = [self.class_token.expand(len(actions), 1, -1)]
        if self.style_observations is not None:
            tokens.append(self.style_observations(self._shown(seen)))
        prefix = len(tokens)
        x = torch.cat([*tokens, self.actions.embed(actions)], dim=1)
        places = self.place(Layout(), x.shape[1]).to(x)
        layout = Layout(lengths=prefix + mask.sum(dim=1), embedding=places)
        x, _ = self.style_encoder(x, layout)
        mean, log_variance = self.style_statistics(x[:, 0]).chunk(2, dim=-1)
        return mean, log_variance

    def decode(self, seen: Observations, style: Tensor) -> Tensor:
        """Returns the features of each action, (B, horizon, dim)."""
        tokens = self.observation_embedding.tokens(seen).flatten(1, 2)
        memory = torch.cat([self.style_embedding(style)[:, None], tokens], dim=1)
        fixed = self.observation_embedding.fixed_positions()
        places = self.places if fixed is None else torch.cat([self.places, fixed])
        layout = Layout(embedding=places[None].to(memory.dtype))
        memory, _ = self.encoder(memory, layout)
        places = self.queries[None].to(memory.dtype)
        # Queries start empty: all that tells them apart is their embedding.
        empty = torch.zeros_like(places).expand(style.shape[0], -1, -1)
        x, _ = self.decoder(empty, Layout(embedding=places), context=memory, context_layout=layout)
        return x

    def forward(self, observations: Observations) -> Tensor:
        """Returns the chunk of the style zero."""
        style = self.class_token.new_zeros(rows_of(observations), self.style_dim)
        return self.actions.predict(self.decode(observations, style))

    def plan(self, seen: Observations, streams: Streams) -> Tensor:
        """Returns the chunk of the style zero; nothing is drawn."""
        return self(seen)

    def predict(self, batch: Batch) -> Tensor:
        """Returns the chunks that follow the first observations of a batch, (B, horizon, ...)."""
        return self(self.chunk(batch).seen)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the error of the real actions and the divergence of the style, and their weighted sum.

        In evaluation the error is that of the style zero, as in play.
        """
        chunk = self.chunk(batch)
        mean, log_variance = self.style(chunk.seen, chunk.actions, chunk.mask)
        style = torch.zeros_like(mean)
        if self.training:
            style = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        features = self.decode(chunk.seen, style)
        error = mean_of_steps(
            self.actions.loss(features, {"actions": chunk.actions, "mask": chunk.mask}), chunk.mask
        )
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=-1).mean() / 2
        loss = error + self.style_weight * divergence
        return {"loss": loss, "error": error, "divergence": divergence}


def without_pictures(space: Space) -> Space | None:
    """Returns what is left of a space without pictures; None if nothing is."""
    if isinstance(space, Dict):
        left = {n: one for n, one in space.parts.items() if without_pictures(one) is not None}
        return Dict(parts=left) if left else None
    return None if isinstance(space, Box) and space.is_image else space
