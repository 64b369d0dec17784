"""MoLFormer: an encoder of molecules with linear attention."""

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from torch import nn

from headway.core.blocks import PostNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.language import EncoderLanguageModel, EncoderOptions, MaskedHead, Tokenizer
from headway.core.language.encoder import TokenHead
from headway.core.language.text_embedding import TextEmbedding
from headway.core.language.xlnet import PlainTokens
from headway.core.mixers import GeneralizedRandomFeatures, LinearAttention
from headway.core.passed import Passed
from headway.core.positions import Rotary
from headway.core.systems import system
from headway.molecules.models.gp_molformer import NarrowMLP
from headway.molecules.notation import SmilesTokenizer

RotaryFeatures = partial(LinearAttention, feature_map=GeneralizedRandomFeatures, position=Rotary)
UnbiasedHead = partial(MaskedHead, out_bias=False)


class _BesideMoLFormer(EncoderOptions, total=False):
    norm: Callable[[int], nn.Module]
    final_norm: bool


@system(
    id=None,
    name="MoLFormer",
    paper="https://doi.org/10.1038/s42256-022-00580-7",
    claim="linear attention over rectified random features of rotated queries and keys; files of the "
    "published class load and answer as its equations say",
    test="packages/molecules/tests/models/test_molformer.py",
)
class MoLFormer(EncoderLanguageModel):
    """Linear attention over rectified random features, a norm behind each sum and behind the last block.

    The published model (MoLFormer-XL) has 12 blocks of 768 channels, 12 heads and 32 features a head. The
    random features are weights here: what is loaded answers the same every time, as the published class
    does with ``deterministic_eval``.

    Args:
        embedding: As of every ``EncoderLanguageModel``.
        mixer: As of every ``EncoderLanguageModel``.
        feedforward: As of every ``EncoderLanguageModel``; as wide as the tokens.
        block: As of every ``EncoderLanguageModel``.
        head: As of every ``EncoderLanguageModel``.
        **options: As of every ``EncoderLanguageModel``.

    Shape:
        As of every ``EncoderLanguageModel``.

    Source:
        Ross et al. 2022, https://doi.org/10.1038/s42256-022-00580-7.
    """

    usual_tokenizer: ClassVar[type[Tokenizer]] = SmilesTokenizer

    def __init__(
        self,
        *,
        embedding: Callable[[int, int, int], TextEmbedding] = PlainTokens,
        mixer: MixerFactories = RotaryFeatures,
        feedforward: FeedForwardFactory = NarrowMLP,
        block: BlockFactory = PostNormBlock,
        head: Callable[[int, int], TokenHead] = UnbiasedHead,
        **options: Passed[_BesideMoLFormer],
    ) -> None:
        parts = {"embedding": embedding, "mixer": mixer, "feedforward": feedforward}
        super().__init__(block=block, head=head, **parts, **options)
