"""The Informer."""

from collections.abc import Callable
from functools import partial

from torch import nn

from headway.core.blocks import PostNormBlock
from headway.core.blocks.block import FeedForwardFactory, MixerFactory
from headway.core.feedforward import MLP
from headway.core.mixers import CrossAttention, ProbSparseAttention
from headway.core.norms import LayerNorm
from headway.core.resample import Distilling
from headway.core.stacks import Decoder
from headway.core.stacks.stack import Stack
from headway.core.systems import system
from headway.timeseries.layers import SeriesEmbedding
from headway.timeseries.models.encoder_decoder import EmbeddingFactory, EncoderDecoderForecaster

_norm = partial(LayerNorm, eps=1e-5)
CausalProbSparseAttention = partial(ProbSparseAttention, causal=True)


@system(
    id=104,
    name="Informer",
    paper="https://arxiv.org/abs/2012.07436",
    claim="ProbSparse equals dense attention when u = L; the decoder gives the whole horizon in one pass",
    test="packages/timeseries/tests/models/test_informer.py",
)
class Informer(EncoderDecoderForecaster):
    """An encoder that halves the sequence between its blocks, and a decoder that answers in one pass.

    The decoder reads the last ``start`` steps followed by zeros in the place of the future, with the
    calendar marks of both. It does not normalise: train and predict on scaled series.

    Args:
        variates: Series.
        context_length: Steps that the model reads.
        horizon: Steps that it forecasts.
        start: Steps of the window that the decoder reads.
        dim: Channels of a token, even.
        depth: Blocks of the encoder.
        decoder_depth: Blocks of the decoder.
        heads: Heads of the mixers.
        mixer: Builds the mixer of the encoder, ``(dim, heads)``.
        decoder_mixer: Builds the causal mixer of the decoder, ``(dim, heads)``.
        cross: Builds the mixer that reads the encoder, ``(dim, heads)``.
        feedforward: Builds the feed-forwards, ``(dim)``.
        embedding: Builds the embedding of moments, ``(variates, dim, marks=, dropout=)``.
        distilling: Builds what halves the sequence between blocks, ``(dim)``; nothing if None.
        marks: Calendar marks of a moment; 0 for none.
        dropout: Probability of dropping a channel of an embedded token in training.

    Shape:
        x, mask: (B, context_length, variates). marks: (B, context_length, marks). future_marks:
        (B, horizon, marks). Output: (B, horizon, variates). A missing value is read as 0, the mean of
        scaled series.

    Raises:
        UserError: If ``start`` is not between 1 and ``context_length``, or marks are not as announced.

    Source:
        Zhou et al. 2020, https://arxiv.org/abs/2012.07436.
    """

    def __init__(
        self,
        *,
        variates: int,
        context_length: int = 96,
        horizon: int = 24,
        start: int = 48,
        dim: int = 512,
        depth: int = 2,
        decoder_depth: int = 1,
        heads: int = 8,
        mixer: MixerFactory = ProbSparseAttention,
        decoder_mixer: MixerFactory = CausalProbSparseAttention,
        cross: MixerFactory = CrossAttention,
        feedforward: FeedForwardFactory = MLP,
        embedding: EmbeddingFactory = SeriesEmbedding,
        distilling: Callable[[int], Distilling] | None = Distilling,
        marks: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(
            variates=variates,
            context_length=context_length,
            horizon=horizon,
            start=start,
            dim=dim,
            embedding=embedding,
            marks=marks,
            dropout=dropout,
        )
        steps: list[nn.Module] = []
        for place in range(depth):
            if place and distilling is not None:
                steps.append(distilling(dim))
            steps.append(
                PostNormBlock(dim, heads, mixer=mixer, feedforward=feedforward, norm=_norm)
            )
        self.encoder = Stack(steps, _norm(dim))
        self.decoder = Decoder(
            dim,
            decoder_depth,
            heads,
            mixer=decoder_mixer,
            cross=cross,
            feedforward=feedforward,
            norm=_norm,
            block=PostNormBlock,
        )
        self.head = nn.Linear(dim, variates)
