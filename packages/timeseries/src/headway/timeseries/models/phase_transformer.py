"""PhaseTransformer: a token holds what one phase of the period did on every day of the window."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import FeedForwardFactory, MixerFactory
from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.stacks import Encoder
from headway.core.stacks.stack import BlockFactory
from headway.core.systems import system
from headway.timeseries.layers import WindowNorm
from headway.timeseries.models.base import Forecaster


@system(
    id=None,
    name="PhaseTransformer",
    paper="https://arxiv.org/abs/2405.00946",
    claim="forecasts each phase of a period from its own past by shared weights, and lets the phases of a "
    "series inform each other by attention",
    test="packages/timeseries/tests/models/test_phase_transformer.py",
)
class PhaseTransformer(Forecaster):
    """Every phase of the period is continued by one shared linear layer; a transformer corrects it.

    A window of hours with a period of 24 becomes 24 tokens per series: what happened at one hour of the day,
    day after day. A linear layer continues all of them alike (the cross-period forecast of SparseTSF); an
    encoder among the phases of a series adds what the other hours tell. Its head begins at zero, so training
    begins with the linear forecast. Each series is forecast by itself, with shared weights.

    Args:
        context_length: Steps that the model reads, a multiple of ``period``.
        horizon: Steps that it forecasts.
        period: Steps of a period, 24 for hours of a day.
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        mixer: Builds the mixer of the phases, ``(dim, heads)``; a sequence is cycled over the depth.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block, ``(dim, heads, ...)``.
        centre: What the window is centred by, its ``mean`` or its ``last`` value.
        dropout: Probability of dropping a channel of an embedded token in training.

    Shape:
        x, mask: (B, context_length, N). Output: (B, horizon, N).

    Raises:
        UserError: If ``context_length`` is no multiple of ``period``.

    Source:
        The linear part: Lin et al. 2024 (SparseTSF), https://arxiv.org/abs/2405.00946, section 3. The encoder
        among phases is headway's own.
    """

    def __init__(
        self,
        *,
        context_length: int = 720,
        horizon: int = 96,
        period: int = 24,
        dim: int = 64,
        depth: int = 1,
        heads: int = 4,
        mixer: MixerFactory | Sequence[MixerFactory] = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
        norm: Callable[[int], nn.Module] = LayerNorm,
        block: BlockFactory = PreNormBlock,
        centre: Literal["mean", "last"] = "mean",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(context_length=context_length, horizon=horizon)
        if period < 1 or context_length % period:
            raise UserError(
                f"context_length {context_length} is no multiple of period {period}; give whole periods, "
                f"such as {max(period * (context_length // max(period, 1)), period)}"
            )
        self.period = period
        periods = context_length // period
        ahead = math.ceil(horizon / period)
        self.normalization = WindowNorm(centre)
        self.linear = nn.Linear(periods, ahead, bias=False)
        self.embedding = nn.Linear(periods, dim)
        self.place = nn.Parameter(torch.empty(period, dim).uniform_(-0.02, 0.02))
        self.dropout = Dropout(dropout)
        self.encoder = Encoder(
            dim, depth, heads, mixer=mixer, feedforward=feedforward, norm=norm, block=block
        )
        self.head = nn.Linear(dim, ahead)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        marks: Tensor | None = None,
        future_marks: Tensor | None = None,
        static: Tensor | None = None,
    ) -> Tensor:
        """Returns the forecast."""
        self.check(x, static)
        series = x.shape[2]
        x, statistics = self.normalization(x, mask)
        phases = x.transpose(1, 2).flatten(0, 1).unflatten(1, (-1, self.period)).transpose(1, 2)
        tokens = self.dropout(self.embedding(phases) + self.place)
        tokens, _ = self.encoder(tokens)
        ahead = self.linear(phases) + self.head(tokens)
        forecast = ahead.transpose(1, 2).flatten(1)[:, : self.horizon]
        forecast = forecast.unflatten(0, (-1, series)).transpose(1, 2)
        return self.normalization.inverse(forecast, statistics)

    def set_horizon(self, horizon: int) -> None:
        """Forecasts another number of steps from now on, with new last layers."""
        super().set_horizon(horizon)
        ahead, old = math.ceil(horizon / self.period), self.head.weight
        options = {"device": old.device, "dtype": old.dtype}
        self.linear = nn.Linear(self.linear.in_features, ahead, bias=False, **options)
        self.head = nn.Linear(self.head.in_features, ahead, **options)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
