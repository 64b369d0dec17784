"""The Conformer."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from headway.core.blocks import MacaronBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.positions import RelativeSinusoidal
from headway.core.stacks import Encoder, Stack
from headway.core.systems import system
from headway.speech.encoder import Encoded, SpeechEncoder
from headway.speech.front_ends.front_end import whole_lengths
from headway.speech.layers import ConvolutionSubsampling, SpeechStem
from headway.speech.layers.chunks import (
    ChunkStream,
    Context,
    check_contexts,
    set_context,
    tokens_at_once,
)

# The parts of the paper.
RELATIVE_ATTENTION = partial(SelfAttention, position=RelativeSinusoidal)
SWISH_MLP = partial(MLP, activation=nn.SiLU)


@system(
    id=471,
    name="Conformer",
    paper="https://arxiv.org/abs/2005.08100",
    claim="macaron blocks with relative attention and convolution, equal to the peer with copied weights",
    test="packages/speech/tests/models/test_conformer_parity.py",
)
class Conformer(SpeechEncoder):
    """A stem that subsamples in time, and a stack of macaron blocks.

    One class for the Conformer over mel features and for Wav2Vec2-Conformer over waveforms: they differ
    in the parts passed in. Any token mixer that takes right-padded items will do in the place of
    relative attention.

    With ``contexts`` it hears while somebody speaks: attention sees chunks of tokens and some of the past.
    Each training pass draws one of them, so that one model serves several latencies, and the first one is
    heard in evaluation. ``stream`` gives tokens chunk by chunk, those of a pass over the whole recording.

    Args:
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        stem: Builds what turns features or waveforms into tokens, ``(dim)``.
        mixer: Builds the token mixer, ``(dim, heads)``; a sequence is cycled over the depth.
        feedforward: Builds each half-step feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block, ``(dim, heads, ...)``; the convolution is an argument of ``MacaronBlock``.
        stack: Builds the blocks, ``(dim, depth, heads, ...)``: other ones merge tokens or use blocks again.
        final_norm: Whether one more norm ends the encoder (Wav2Vec2-Conformer), behind that of the block.
        drop_path: Rate of stochastic depth of the last block.
        contexts: What attention sees, ``(tokens of a chunk, chunks of the past)`` each; what its mixer says
            if there is none.

    Raises:
        UserError: If there are contexts, and a part of the blocks looks beyond them.

    Shape:
        inputs: (B, T, F) features or (B, T) waveforms. lengths: (B,), all T if None.
        Output: ``encoded`` (B, T', dim) and ``lengths`` (B,).

    Source:
        Gulati et al. 2020, https://arxiv.org/abs/2005.08100. The default is its Conformer (S). Contexts:
        Noroozi et al. 2023, https://arxiv.org/abs/2312.17279.
    """

    def __init__(
        self,
        *,
        dim: int = 144,
        depth: int = 16,
        heads: int = 4,
        stem: Callable[[int], SpeechStem] = ConvolutionSubsampling,
        mixer: MixerFactories = RELATIVE_ATTENTION,
        feedforward: FeedForwardFactory = SWISH_MLP,
        norm: Callable[[int], nn.Module] = LayerNorm,
        block: BlockFactory = MacaronBlock,
        stack: Callable[[int, int, int], Stack] = Encoder,
        final_norm: bool = False,
        drop_path: float = 0.0,
        contexts: Sequence[Context] = (),
    ) -> None:
        super().__init__()
        self.dim = dim
        self.contexts = check_contexts(contexts)
        self.stem = stem(dim)
        make: Any = stack
        self.encoder: Stack = make(
            dim,
            depth,
            heads,
            mixer=mixer,
            feedforward=feedforward,
            norm=norm,
            block=block,
            final_norm=final_norm,
            drop_path=drop_path,
        )
        init_transformer_(self.encoder)
        if self.contexts:
            set_context(self.encoder, self.contexts[0])
            tokens_at_once(self.encoder)

    @property
    def bands(self) -> int | None:
        """Features of a step that it hears; None for samples."""
        return self.stem.bands

    @property
    def stride(self) -> int:
        """Steps of the input for a token."""
        return self.stem.stride

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns how many tokens items of these lengths give, (B,)."""
        return self.encoder.output_lengths(self.stem.output_lengths(lengths))

    def train(self, mode: bool = True) -> Self:
        """Trains, or hears in the first context."""
        if self.contexts and not mode:
            set_context(self.encoder, self.contexts[0])
        return super().train(mode)

    def set_contexts(self, contexts: Sequence[Context]) -> None:
        """Takes other contexts; the first one is heard in evaluation.

        Raises:
            UserError: As the constructor; without contexts, attention sees what it was built to see.
        """
        found = check_contexts(contexts)
        if not found:
            raise UserError("give one context or more, such as (8, 4)")
        set_context(self.encoder, found[0])
        tokens_at_once(self.encoder)
        self.contexts = self.init_args["contexts"] = found

    def stream(self, *, rows: int = 1, context: Context | None = None) -> ChunkStream:
        """Returns what computes the tokens while the input comes.

        Args:
            rows: Items that come side by side.
            context: Tokens of a chunk, and chunks of the past; the first one of ``contexts`` if None.

        Raises:
            UserError: If a part looks at the whole item.
        """
        if context is None:
            context = self.contexts[0] if self.contexts else None
        else:
            [context] = check_contexts([context])
        return ChunkStream(self.stem, self.encoder, rows=rows, context=context)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Encoded:
        """Returns the encoded tokens and their lengths."""
        if self.training and len(self.contexts) > 1:
            drawn = int(torch.randint(len(self.contexts), ()))
            set_context(self.encoder, self.contexts[drawn])
        x, tokens = self.stem(inputs, whole_lengths(inputs, lengths))
        x, layout = self.encoder(x, Layout(lengths=tokens))
        return Encoded(x, layout.lengths, layout.sizes)
