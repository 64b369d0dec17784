"""The vanilla transformer as a forecaster."""

from typing import Any

from torch import nn

from headway.core.blocks import PostNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories, MixerFactory
from headway.core.feedforward import MLP
from headway.core.mixers import CrossAttention, SelfAttention
from headway.core.stacks import Encoder
from headway.core.stacks.decoder import CausalSelfAttention
from headway.core.stacks.stack import Stack, mixer_for
from headway.core.systems import system
from headway.timeseries.layers import SeriesEmbedding
from headway.timeseries.layers.torch_norm import TorchLayerNorm
from headway.timeseries.models.encoder_decoder import EmbeddingFactory, EncoderDecoderForecaster


@system(
    id=None,
    name="Transformer (encoder-decoder forecaster)",
    paper="https://arxiv.org/abs/1706.03762",
    claim="every step of the future attends to every moment of the window, whatever lies between them",
    test="packages/timeseries/tests/models/test_transformer.py",
)
class Transformer(EncoderDecoderForecaster):
    """Dense attention in encoder and decoder, the baseline of every other forecaster of moments.

    The decoder reads the last ``start`` steps followed by zeros in the place of the future, and answers
    in one pass. It does not normalise: train and predict on scaled series.

    Args:
        variates: Series.
        context_length: Steps that the model reads.
        horizon: Steps that it forecasts.
        start: Steps of the window that the decoder reads.
        dim: Channels of a token, even.
        depth: Blocks of the encoder.
        decoder_depth: Blocks of the decoder.
        heads: Heads of the mixers.
        mixer: Builds the mixers of the encoder, ``(dim, heads)``; a sequence is cycled over the depth.
        decoder_mixer: Builds the mixers of the decoder, ``(dim, heads)``; causal as in the paper, but they
            need not be, since the whole future is asked for at once.
        cross: Builds the mixer that reads the encoder, ``(dim, heads)``.
        feedforward: Builds the feed-forwards, ``(dim)``.
        embedding: Builds the embedding of moments, ``(variates, dim, marks=, dropout=)``.
        block: Builds a block, ``(dim, heads, ...)``.
        marks: Calendar marks of a moment; 0 for none.
        dropout: Probability of dropping a channel of an embedded token in training.

    Shape:
        x, mask: (B, context_length, variates). marks: (B, context_length, marks). future_marks:
        (B, horizon, marks). Output: (B, horizon, variates). A missing value is read as 0, the mean of
        scaled series.

    Raises:
        UserError: If ``start`` is not between 1 and ``context_length``, or marks are not as announced.

    Source:
        Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; as a forecaster: Zhou et al. 2020,
        https://arxiv.org/abs/2012.07436.
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
        mixer: MixerFactories = SelfAttention,
        decoder_mixer: MixerFactories = CausalSelfAttention,
        cross: MixerFactory = CrossAttention,
        feedforward: FeedForwardFactory = MLP,
        embedding: EmbeddingFactory = SeriesEmbedding,
        block: BlockFactory = PostNormBlock,
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
        self.encoder = Encoder(
            dim,
            depth,
            heads,
            mixer=mixer,
            feedforward=feedforward,
            norm=TorchLayerNorm,
            block=block,
        )
        make: Any = block
        blocks = [
            make(
                dim,
                heads,
                mixer=mixer_for(decoder_mixer, place),
                cross=cross,
                feedforward=feedforward,
                norm=TorchLayerNorm,
            )
            for place in range(decoder_depth)
        ]
        self.decoder = Stack(blocks, TorchLayerNorm(dim))
        self.head = nn.Linear(dim, variates)
