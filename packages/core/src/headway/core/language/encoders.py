"""Published encoders by name: each is an ``EncoderLanguageModel`` with parts of its own."""

from collections.abc import Callable
from functools import partial

from torch import nn

from headway.core.blocks import PostNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.feedforward import GELU, GLU
from headway.core.language.encoder import (
    EncoderLanguageModel,
    EncoderOptions,
    MaskedHead,
    TokenHead,
)
from headway.core.language.text_embedding import MaskScaledEmbedding, TextEmbedding
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.passed import Passed
from headway.core.positions import Rotary
from headway.core.systems import system

BertEmbedding = partial(TextEmbedding, segments=2)
# Its padding token has number 1, and places are counted from behind it.
RobertaEmbedding = partial(TextEmbedding, segments=1, first=2)
# The vocabulary of amino acids hides tokens behind number 32.
EsmEmbedding = partial(MaskScaledEmbedding, mask=32)
PlainNorm = partial(LayerNorm, eps=1e-5, bias=False)
NormedTokens = partial(TextEmbedding, position=None, norm=PlainNorm)
PlainHead = partial(MaskedHead, norm=PlainNorm, bias=False)
RotaryEncoding = partial(SelfAttention, position=Rotary)
GlobalAttention = partial(
    SelfAttention, position=partial(Rotary, theta=160000.0), qkv_bias=False, out_bias=False
)
LocalAttention = partial(SelfAttention, position=Rotary, window=64, qkv_bias=False, out_bias=False)
GlobalAndLocal = (GlobalAttention, LocalAttention, LocalAttention)
GeGLU = partial(GLU, activation=GELU, bias=False)


class _BesideBert(EncoderOptions, total=False):
    head: Callable[[int, int], TokenHead]
    mixer: MixerFactories
    feedforward: FeedForwardFactory
    norm: Callable[[int], nn.Module]


class BertOptions(_BesideBert, total=False):
    """What every BERT with another embedding passes on."""

    block: BlockFactory
    final_norm: bool


class _BesideEsm(EncoderOptions, total=False):
    head: Callable[[int, int], TokenHead]
    feedforward: FeedForwardFactory
    norm: Callable[[int], nn.Module]
    block: BlockFactory
    final_norm: bool


class _BesideModernBert(EncoderOptions, total=False):
    block: BlockFactory
    final_norm: bool


@system(
    id=None,
    name="BERT",
    paper="https://arxiv.org/abs/1810.04805",
    claim="an encoder whose tokens see all others, equal to transformers' with copied weights",
    test="packages/core/tests/weights/test_encoders.py",
)
class Bert(EncoderLanguageModel):
    """Learned positions and segments, a norm behind each sum.

    Args:
        embedding: As of every ``EncoderLanguageModel``.
        block: As of every ``EncoderLanguageModel``.
        final_norm: As of every ``EncoderLanguageModel``.
        **options: As of every ``EncoderLanguageModel``.

    Source:
        Devlin et al. 2018, https://arxiv.org/abs/1810.04805, section 3.
    """

    def __init__(
        self,
        *,
        embedding: Callable[[int, int, int], TextEmbedding] = BertEmbedding,
        block: BlockFactory = PostNormBlock,
        final_norm: bool = False,
        **options: Passed[_BesideBert],
    ) -> None:
        super().__init__(embedding=embedding, block=block, final_norm=final_norm, **options)


class Roberta(Bert):
    """A BERT without segments, whose places are counted from behind the padding token.

    Args:
        embedding: As of every ``EncoderLanguageModel``.
        **options: As of every ``EncoderLanguageModel``.

    Source:
        Liu et al. 2019, https://arxiv.org/abs/1907.11692.
    """

    def __init__(
        self,
        *,
        embedding: Callable[[int, int, int], TextEmbedding] = RobertaEmbedding,
        **options: Passed[BertOptions],
    ) -> None:
        super().__init__(embedding=embedding, **options)


@system(
    id=None,
    name="ESM-2",
    paper="https://doi.org/10.1126/science.ade2574",
    claim="an encoder of proteins with rotations, equal to transformers' with copied weights",
    test="packages/core/tests/weights/test_encoders.py",
)
class Esm2(EncoderLanguageModel):
    """Rotations, a norm before each branch, hidden tokens that are zeros.

    Args:
        embedding: As of every ``EncoderLanguageModel``.
        mixer: As of every ``EncoderLanguageModel``.
        **options: As of every ``EncoderLanguageModel``.

    Source:
        Lin et al. 2023, https://doi.org/10.1126/science.ade2574.
    """

    def __init__(
        self,
        *,
        embedding: Callable[[int, int, int], TextEmbedding] = EsmEmbedding,
        mixer: MixerFactories = RotaryEncoding,
        **options: Passed[_BesideEsm],
    ) -> None:
        super().__init__(embedding=embedding, mixer=mixer, **options)


@system(
    id=None,
    name="ModernBERT",
    paper="https://arxiv.org/abs/2412.13663",
    claim="two of three blocks see a window, gated units; equal to transformers' with copied weights",
    test="packages/core/tests/weights/test_encoders.py",
)
class ModernBert(EncoderLanguageModel):
    """Rotations, gated units, norms before each branch without biases; every third block sees the whole text.

    The first block has no norm of its own before attention: the embedding is normalised already.

    Args:
        embedding: As of every ``EncoderLanguageModel``.
        mixer: As of every ``EncoderLanguageModel``.
        feedforward: As of every ``EncoderLanguageModel``.
        norm: As of every ``EncoderLanguageModel``.
        head: As of every ``EncoderLanguageModel``.
        **options: As of every ``EncoderLanguageModel``.

    Source:
        Warner et al. 2024, https://arxiv.org/abs/2412.13663, section 2.1.
    """

    def __init__(
        self,
        *,
        embedding: Callable[[int, int, int], TextEmbedding] = NormedTokens,
        mixer: MixerFactories = GlobalAndLocal,
        feedforward: FeedForwardFactory = GeGLU,
        norm: Callable[[int], nn.Module] = PlainNorm,
        head: Callable[[int, int], TokenHead] = PlainHead,
        **options: Passed[_BesideModernBert],
    ) -> None:
        super().__init__(
            embedding=embedding,
            mixer=mixer,
            feedforward=feedforward,
            norm=norm,
            head=head,
            **options,
        )
        self.encoder.blocks[0].get_submodule("mixer").norm = nn.Identity()
