"""Speechformer: attention that bears every frame, and tokens that become fewer by what they say."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.init import init_transformer_
from headway.core.language import Tokenizer
from headway.core.layout import Layout
from headway.core.mixers import ConvAttention, SelfAttention
from headway.core.norms import LayerNorm
from headway.core.positions import SinusoidalPosition
from headway.core.stacks import Encoder
from headway.core.systems import system
from headway.speech.batch import SpeechBatch
from headway.speech.encoder import Encoded, SpeechEncoder
from headway.speech.front_ends.front_end import whole_lengths
from headway.speech.layers import CTCCompression, GatedStem, SpeechStem
from headway.speech.models.ctc import CTCOutput, blank_of, ctc_loss

# The part of the paper.
RELU_MLP = partial(MLP, activation=nn.ReLU)


@system(
    id=436,
    name="Speechformer",
    paper="https://arxiv.org/abs/2109.04574",
    claim="no frame is left out before attention, and neighbours become one where CTC hears the same, which "
    "loses less than as many means of equal length",
    test="packages/speech/tests/models/test_speechformer.py",
)
class Speechformer(SpeechEncoder):
    """Blocks over all frames, compression of neighbours that say the same, and blocks over what is left.

    The lower blocks attend to keys that a convolution made fewer (``ConvAttention``), so that the stem need
    not subsample. Behind them CTC says what is heard at each frame; it learns from the texts of whatever
    recogniser has this encoder. Each run of frames with one answer becomes a token, and ``Encoded.sizes``
    says how long it lasts.

    Args:
        dim: Channels of a token.
        depth: Blocks over what is left.
        lower_depth: Blocks over all frames.
        heads: Heads of the mixers.
        stem: Builds what turns features into tokens, ``(dim)``; that of the paper keeps all frames.
        lower_mixer: Builds the token mixers over all frames, ``(dim, heads)``.
        mixer: Builds those over what is left, ``(dim, heads)``.
        feedforward: Builds the feed-forwards, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block, ``(dim, heads, ...)``.
        compression: Builds what merges neighbours, ``(dim)``.
        shared: Whether all ``ConvAttention`` of the lower blocks have one convolution.
        tokenizer: What the answers of the compression mean; a recogniser says what its texts are cut into.

    Raises:
        UserError: If mixers that share have convolutions of different sizes.

    Shape:
        inputs: (B, T, F). lengths: (B,), all T if None.
        Output: ``encoded`` (B, T', dim), ``lengths`` and ``sizes``.

    Source:
        Papi et al. 2021, https://arxiv.org/abs/2109.04574. Different from their code: sinusoids count from 0
        and alternate between sine and cosine; where they train without compression first and begin again from
        these weights, compression begins in the same run (``CTCCompression.warmup``).
    """

    def __init__(
        self,
        *,
        dim: int = 256,
        depth: int = 4,
        lower_depth: int = 8,
        heads: int = 4,
        stem: Callable[[int], SpeechStem] = GatedStem,
        lower_mixer: MixerFactories = ConvAttention,
        mixer: MixerFactories = SelfAttention,
        feedforward: FeedForwardFactory = RELU_MLP,
        norm: Callable[[int], nn.Module] = LayerNorm,
        block: BlockFactory = PreNormBlock,
        compression: Callable[[int], CTCCompression] = CTCCompression,
        shared: bool = True,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.stem = stem(dim)
        self.position = SinusoidalPosition(dim)
        parts: dict[str, Any] = {"feedforward": feedforward, "norm": norm, "block": block}
        self.lower = Encoder(dim, lower_depth, heads, mixer=lower_mixer, final_norm=False, **parts)
        self.upper = Encoder(dim, depth, heads, mixer=mixer, **parts)
        self.compression = compression(dim)
        init_transformer_(self)
        if shared:
            _share(self.lower)
        if tokenizer is not None:
            self.take_tokenizer(tokenizer)

    @property
    def bands(self) -> int | None:
        """Features of a step that it hears; None for samples."""
        return self.stem.bands

    @property
    def stride(self) -> int:
        """Steps of the input for a token before neighbours become one."""
        return self.stem.stride

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns how many tokens stand before the compression, (B,).

        How many it leaves is known when it has heard; once it hears a text, they are enough for it.
        """
        return self.stem.output_lengths(lengths)

    def take_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Lets the compression tell these tokens apart.

        Raises:
            UserError: If none stands for silence.
        """
        blank_of(tokenizer)
        self.compression.take_tokenizer(tokenizer)
        self.init_args["tokenizer"] = tokenizer

    def learn(self, encoded: Encoded, batch: SpeechBatch) -> None:
        """Lets the compression learn from the texts, by a penalty."""
        tokenizer, scores = self.compression.tokenizer, encoded.guesses
        if tokenizer is None or scores is None:
            return
        lengths = self.stem.output_lengths(batch.lengths)
        said = CTCOutput(scores.float().log_softmax(dim=-1), lengths)
        loss = ctc_loss(said, batch, blank_of(tokenizer))
        self.compression.penalty = self.compression.weight * loss

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Encoded:
        """Returns the tokens that are left, with how long each lasts."""
        x, tokens = self.stem(inputs, whole_lengths(inputs, lengths))
        layout = Layout(lengths=tokens)
        x = math.sqrt(self.dim) * x + self.position(layout, x.shape[1]).to(x.dtype)
        x, layout = self.lower(x, layout)
        x, layout, guesses = self.compression(x, layout)
        # What tokens stand for is nothing to the upper blocks: a run is one sound, however long.
        x, left = self.upper(x, Layout(lengths=layout.lengths))
        return Encoded(x, left.lengths, layout.sizes, guesses)


def _share(stack: Encoder) -> None:
    """Gives all attention of a stack one convolution."""
    mixers = [part for part in stack.modules() if isinstance(part, ConvAttention)]
    if len({(part.condense.stride, part.condense.window) for part in mixers}) > 1:
        raise UserError(
            "mixers with other strides or windows cannot share a convolution; shared: false"
        )
    for part in mixers[1:]:
        part.condense = mixers[0].condense
