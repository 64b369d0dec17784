"""The Autoformer."""

from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from headway.core.blocks import PostNormBlock
from headway.core.blocks.block import FeedForwardFactory, MixerFactories, MixerFactory
from headway.core.feedforward import MLP
from headway.core.mixers import AutoCorrelation, AutoCorrelationCross
from headway.core.stacks.stack import Stack, mixer_for
from headway.core.systems import system
from headway.timeseries.layers import SeriesDecomposition, SeriesEmbedding
from headway.timeseries.layers.seasonal import SeasonalNorm, SeasonalPart, TrendDecoderBlock
from headway.timeseries.models.encoder_decoder import EncoderDecoderForecaster

PlainMLP = partial(MLP, bias=False)


@system(
    id=513,
    name="Autoformer",
    paper="https://arxiv.org/abs/2106.13008",
    claim="each block takes the trend off the sequence; the trends are added up beside it and forecast alone",
    test="packages/timeseries/tests/models/test_autoformer.py",
)
class Autoformer(EncoderDecoderForecaster):
    """An encoder of the season, and a decoder that continues season and trend apart.

    The decoder begins with the season of the last ``start`` steps followed by zeros, and with their trend
    followed by the mean of the window. Tokens have no positions: alignment by lags knows the order.

    Args:
        variates: Series.
        context_length: Steps that the model reads.
        horizon: Steps that it forecasts.
        start: Steps of the window that the decoder reads.
        dim: Channels of a token, even.
        depth: Blocks of the encoder.
        decoder_depth: Blocks of the decoder.
        heads: Heads of the mixers.
        mixer: Builds the mixers, ``(dim, heads)``; a sequence is cycled over the depth of the encoder, its
            first stands in the decoder.
        cross: Builds the mixer that reads the encoder, ``(dim, heads)``.
        feedforward: Builds the feed-forwards, ``(dim)``.
        window: Steps of the moving average, odd.
        marks: Calendar marks of a moment; 0 for none.
        dropout: Probability of dropping a channel of an embedded token in training.

    Shape:
        x, mask: (B, context_length, variates). marks: (B, context_length, marks). future_marks:
        (B, horizon, marks). Output: (B, horizon, variates). A missing value is read as 0, the mean of
        scaled series.

    Raises:
        UserError: If ``start`` is not between 1 and ``context_length``, or marks are not as announced.

    Source:
        Wu et al. 2021, https://arxiv.org/abs/2106.13008.
    """

    def __init__(
        self,
        *,
        variates: int,
        context_length: int = 96,
        horizon: int = 96,
        start: int = 48,
        dim: int = 512,
        depth: int = 2,
        decoder_depth: int = 1,
        heads: int = 8,
        mixer: MixerFactories = AutoCorrelation,
        cross: MixerFactory = AutoCorrelationCross,
        feedforward: FeedForwardFactory = PlainMLP,
        window: int = 25,
        marks: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(
            variates=variates,
            context_length=context_length,
            horizon=horizon,
            start=start,
            dim=dim,
            embedding=partial(SeriesEmbedding, positions=False),
            marks=marks,
            dropout=dropout,
        )
        self.decomposition = SeriesDecomposition(window)
        seasonal = partial(SeasonalPart, window=window)
        blocks = [
            PostNormBlock(
                dim, heads, mixer=mixer_for(mixer, place), feedforward=feedforward, norm=seasonal
            )
            for place in range(depth)
        ]
        self.encoder = Stack(blocks, SeasonalNorm(dim))
        self.decoder = nn.ModuleList(
            TrendDecoderBlock(
                dim,
                heads,
                variates,
                mixer=mixer_for(mixer, 0),
                cross=cross,
                feedforward=feedforward,
                window=window,
            )
            for _ in range(decoder_depth)
        )
        self.norm = SeasonalNorm(dim)
        self.head = nn.Linear(dim, variates)

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
        self.check_marks(x, marks, future_marks)
        if mask is not None:
            x = x.masked_fill(~mask, 0.0)
        season, trend = self.decomposition(x)
        mean = x.mean(dim=1, keepdim=True).expand(-1, self.horizon, -1)
        season = torch.cat([season[:, -self.start :], torch.zeros_like(mean)], dim=1)
        trend = torch.cat([trend[:, -self.start :], mean], dim=1)
        memory, _ = self.encoder(self.embedding(x, marks))
        tokens = self.decoder_embedding(season, self.asked_marks(marks, future_marks))
        for block in cast(nn.ModuleList, self.decoder):
            tokens, taken = block(tokens, memory)
            trend = trend + taken
        forecast = trend + self.head(self.norm(tokens))
        return forecast[:, -self.horizon :]
