"""LMUFormer: a classifier of sequences that follows a stream."""

from typing import NamedTuple, cast

from torch import Tensor, nn

from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.blocks.residual import NormFactory
from headway.core.cache import CacheGroup, RecurrentCache
from headway.core.errors import UserError
from headway.core.heads import AveragePooling
from headway.core.layout import Layout
from headway.core.mixers import LegendreMemory
from headway.core.module import Module
from headway.core.norms import MaskedBatchNorm
from headway.core.stacks import Encoder
from headway.core.systems import system
from headway.timeseries.layers import zero_unknown
from headway.timeseries.layers.causal_convolution import (
    ConvolutionalChannelMixer,
    ConvolutionalEmbedding,
)
from headway.timeseries.layers.memory_block import MemoryBlock


class Stream(NamedTuple):
    """What an LMUFormer remembers of a stream; its size does not grow.

    Args:
        embedding: The last steps before each convolution.
        blocks: The state of each mixer.
        total: Sum of the logits of all steps, (B, classes).
    """

    embedding: list[RecurrentCache]
    blocks: CacheGroup
    total: RecurrentCache


@system(
    id=199,
    name="LMUFormer",
    paper="https://arxiv.org/abs/2402.04882",
    claim="a Legendre memory in the place of attention: classes from far back, the same in one pass and as a "
    "stream with a state of fixed size",
    test="packages/timeseries/tests/models/test_lmuformer.py",
)
class LMUFormer(Module):
    """Causal convolutions, blocks of a Legendre memory and a channel mixer, the average of the logits.

    With ``block=ResidualPostNormBlock`` and ``norm=LayerNorm`` no result depends on a batch, not even in
    training.

    Args:
        features: Values of a step.
        num_classes: Classes.
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Signals that a memory keeps (heads of another mixer).
        mixer: Builds the mixer, ``(dim, heads)``; a sequence is cycled over the depth.
        feedforward: Builds the channel mixer, ``(dim)``.
        norm: Builds the norm behind each mixer, ``(dim)``.
        block: Builds a block, ``(dim, heads, ...)``.
        embedding_depth: Convolutions of the embedding.
        window: Steps that each of them sees.

    Shape:
        x, mask: (B, N, features), any N. lengths: (B,). Output: (B, num_classes).

    Source:
        Liu et al. 2024, https://arxiv.org/abs/2402.04882 (without spikes). It equals the authors' network but
        for the convolutions of the embedding, which see no future here, and the memory's size, there as
        many polynomials as channels.
    """

    def __init__(
        self,
        *,
        features: int,
        num_classes: int,
        dim: int = 256,
        depth: int = 1,
        heads: int = 1,
        mixer: MixerFactories = LegendreMemory,
        feedforward: FeedForwardFactory = ConvolutionalChannelMixer,
        norm: NormFactory = MaskedBatchNorm,
        block: BlockFactory = MemoryBlock,
        embedding_depth: int = 4,
        window: int = 3,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise UserError(f"num_classes must be at least 1, got {num_classes}")
        self.features = features
        self.embedding = ConvolutionalEmbedding(features, dim, depth=embedding_depth, window=window)
        self.encoder = Encoder(
            dim,
            depth,
            heads,
            mixer=mixer,
            feedforward=feedforward,
            norm=norm,
            block=block,
            final_norm=False,
        )
        self.head = nn.Linear(dim, num_classes)
        self.num_classes = num_classes
        self.average = AveragePooling(num_classes)

    def forward(
        self,
        x: Tensor,
        *,
        lengths: Tensor | None = None,
        mask: Tensor | None = None,
        stream: Stream | None = None,
    ) -> Tensor:
        """Returns the logits, the average over all steps so far.

        Args:
            x: The sequence, or the next piece of it, of any length.
            lengths: Steps of each right-padded sequence; None if all are real.
            mask: True where a value was observed; None if all were.
            stream: What was remembered of earlier pieces; from ``init_stream``.
        """
        if x.ndim != 3 or x.shape[2] != self.features or not x.shape[1]:
            raise UserError(
                f"this LMUFormer reads sequences (B, N, {self.features}), got {tuple(x.shape)}"
            )
        if stream is not None and lengths is not None:
            raise UserError("pieces of a stream have no padding; give each its own length")
        x = zero_unknown(x, mask, lengths)
        layout = Layout(lengths=lengths) if lengths is not None else None
        tokens = self.embedding(x, None if stream is None else stream.embedding, layout)
        tokens, _ = self.encoder(tokens, layout, cache=None if stream is None else stream.blocks)
        logits = self.head(tokens)
        if stream is None:
            return self.average(logits, layout)
        stream.total.state = stream.total.state + logits.sum(dim=1)
        stream.total.lengths = stream.total.lengths + x.shape[1]
        return stream.total.state / stream.total.lengths[:, None]

    def init_stream(self, batch: int) -> Stream:
        """Returns the memory of no steps.

        Raises:
            UserError: If a mixer needs all steps at once.
        """
        weight = self.head.weight
        blocks = cast(CacheGroup, self.encoder.init_cache(batch, 0, weight.dtype, weight.device))
        total = RecurrentCache(weight.new_zeros(batch, weight.shape[0]))
        return Stream(self.embedding.init_cache(batch), blocks, total)
