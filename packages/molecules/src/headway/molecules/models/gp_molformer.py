"""GP-MoLFormer: a decoder of molecules with linear attention."""

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from torch import nn

from headway.core.blocks import PostNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.feedforward import MLP
from headway.core.language import DecoderLanguageModel, Tokenizer
from headway.core.language.decoder import DecoderOptions
from headway.core.mixers import GeneralizedRandomFeatures, LinearAttention
from headway.core.norms import LayerNorm
from headway.core.passed import Passed
from headway.core.positions import PositionTable, Rotary
from headway.core.systems import system
from headway.molecules.notation import SmilesTokenizer

RotaryLinearAttention = partial(
    LinearAttention, causal=True, feature_map=GeneralizedRandomFeatures, position=Rotary
)
NarrowMLP = partial(MLP, mlp_ratio=1)


class _BesideGPMoLFormer(DecoderOptions, total=False):
    position: Callable[[int, int], PositionTable] | None


@system(
    id=343,
    name="GP-MoLFormer",
    paper="https://arxiv.org/abs/2405.04912",
    claim="molecules are written from a state of fixed size, token by token the same as all at once; where "
    "attention is in its place, what is kept grows with the molecule",
    test="packages/molecules/tests/models/test_gp_molformer.py",
)
class GPMoLFormer(DecoderLanguageModel):
    """Linear attention over rectified random features, rotated before; a norm behind each sum.

    The published model has 12 blocks of 768 channels, 12 heads, 32 features a head and 46.8 million
    parameters. Its pair-tuning is a method of optimisation (``headway optimize``) for any decoder.

    Args:
        mixer: As of every ``DecoderLanguageModel``.
        feedforward: As of every ``DecoderLanguageModel``; as wide as the tokens.
        norm: As of every ``DecoderLanguageModel``.
        block: As of every ``DecoderLanguageModel``.
        tied: As of every ``DecoderLanguageModel``.
        **options: As of every ``DecoderLanguageModel``.

    Shape:
        As of every ``DecoderLanguageModel``.

    Source:
        Ross et al. 2024, https://arxiv.org/abs/2405.04912; Ross et al. 2022,
        https://doi.org/10.1038/s42256-022-00580-7 (the body).
    """

    usual_tokenizer: ClassVar[type[Tokenizer]] = SmilesTokenizer

    def __init__(
        self,
        *,
        mixer: MixerFactories = RotaryLinearAttention,
        feedforward: FeedForwardFactory = NarrowMLP,
        norm: Callable[[int], nn.Module] = LayerNorm,
        block: BlockFactory = PostNormBlock,
        tied: bool = False,
        **options: Passed[_BesideGPMoLFormer],
    ) -> None:
        parts = {"mixer": mixer, "feedforward": feedforward, "norm": norm, "block": block}
        super().__init__(tied=tied, **parts, **options)
