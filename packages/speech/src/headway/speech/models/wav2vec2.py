"""wav2vec 2.0, HuBERT and WavLM: transformers over samples."""

from collections.abc import Callable

from torch import Tensor, nn

from headway.core.blocks import PostNormBlock, PreNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories, MixerFactory
from headway.core.blocks.residual import NormFactory, PreNorm
from headway.core.dropout import Dropout
from headway.core.feedforward import MLP
from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.positions.bucketed import share_biases
from headway.core.stacks import Encoder
from headway.core.systems import system
from headway.speech.encoder import Encoded, SpeechEncoder
from headway.speech.front_ends.front_end import whole_lengths
from headway.speech.layers import ConvolutionalPosition, SpeechStem, WaveformStem


class LanguageBlock(PreNormBlock):
    """A pre-norm block with a second, small feed-forward behind the first: what MMS learns of a language.

    Args:
        dim: Channels of a token.
        heads: Heads of the mixer.
        adapter: Builds the small feed-forward, ``(dim)``.
        mixer: Builds the token mixer, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        layer_scale: Where a learned scale of each branch starts; none if None.
        drop_path: Probability of dropping a branch of an item in training.

    Shape:
        x: (B, N, dim). Output: (B, N, dim) and the layout.

    Source:
        Pratap et al. 2023, https://arxiv.org/abs/2305.13516, section 4.2.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        adapter: FeedForwardFactory,
        mixer: MixerFactory = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
        norm: NormFactory = LayerNorm,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(
            dim,
            heads,
            mixer=mixer,
            feedforward=feedforward,
            norm=norm,
            layer_scale=layer_scale,
            drop_path=drop_path,
        )
        # The blocks run their children in order.
        self.adapter = PreNorm(dim, adapter(dim), norm=norm, drop_path=drop_path)


@system(
    id=None,
    name="wav2vec 2.0",
    paper="https://arxiv.org/abs/2006.11477",
    claim="convolutions over samples, positions by convolution and a transformer, with copied weights those "
    "of transformers, whatever stands beside a recording in its batch",
    test="packages/speech/tests/models/test_wav2vec2.py",
)
class Wav2Vec2(SpeechEncoder):
    """Convolutions over samples, positions from the neighbourhood, and blocks.

    The base models normalise in front of the post-norm blocks, the large ones have pre-norm blocks and a norm
    at the end. HuBERT is the same with other weights, WavLM with ``GatedBiasAttention``.

    Args:
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        stem: Builds what turns samples into tokens, ``(dim)``.
        position: Builds what is added for the places of tokens, ``(dim)``.
        mixer: Builds the token mixer, ``(dim, heads)``; a sequence is cycled over the depth.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block, ``(dim, heads, ...)``.
        norm_in_front: Whether a norm stands in front of the blocks, or else behind them.
        dropout: Probability of dropping a channel in front of the blocks in training.
        drop_path: Rate of stochastic depth of the last block.

    Shape:
        inputs: (B, T). lengths: (B,), all T if None.
        Output: ``encoded`` (B, T', dim) and ``lengths`` (B,).

    Source:
        Baevski et al. 2020, https://arxiv.org/abs/2006.11477, section 2; Hsu et al. 2021 (HuBERT),
        https://arxiv.org/abs/2106.07447. The default is the base model.
    """

    def __init__(
        self,
        *,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        stem: Callable[[int], SpeechStem] = WaveformStem,
        position: Callable[[int], nn.Module] = ConvolutionalPosition,
        mixer: MixerFactories = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
        norm: Callable[[int], nn.Module] = LayerNorm,
        block: BlockFactory = PostNormBlock,
        norm_in_front: bool = True,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.stem = stem(dim)
        self.position = position(dim)
        self.norm = norm(dim) if norm_in_front else None
        self.dropout = Dropout(dropout)
        self.encoder = Encoder(
            dim,
            depth,
            heads,
            mixer=mixer,
            feedforward=feedforward,
            norm=norm,
            block=block,
            final_norm=not norm_in_front,
            drop_path=drop_path,
        )
        init_transformer_(self.encoder)
        share_biases(self.encoder)

    @property
    def bands(self) -> int | None:
        """None: it hears samples."""
        return self.stem.bands

    @property
    def stride(self) -> int:
        """Steps of the input for a token."""
        return self.stem.stride

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns how many tokens items of these lengths give, (B,)."""
        return self.stem.output_lengths(lengths)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Encoded:
        """Returns the encoded tokens and their lengths."""
        x, tokens = self.stem(inputs, whole_lengths(inputs, lengths))
        layout = Layout(lengths=tokens)
        x = x + self.position(x, layout)
        x = x if self.norm is None else self.norm(x)
        x, _ = self.encoder(self.dropout(x), layout)
        return Encoded(x, tokens)
