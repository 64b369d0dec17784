"""MatterGPT: a GPT of any line notation that is told properties."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from torch import nn

from headway.core.blocks.block import FeedForwardFactory, MixerFactories
from headway.core.language import (
    ConditionalLanguageModel,
    ConditionalParts,
    SymbolTokenizer,
    Tokenizer,
)
from headway.core.language.presets import TanhMLP
from headway.core.passed import Passed
from headway.core.positions import PositionTable
from headway.core.stacks.decoder import CausalSelfAttention
from headway.core.systems import system


class _BesideMatterGPT(ConditionalParts, total=False):
    norm: Callable[[int], nn.Module]


@system(
    id=366,
    name="MatterGPT",
    paper="https://arxiv.org/abs/2408.07608",
    claim="told one property or several, it writes lines of any notation that have them; the same GPT that "
    "is told nothing does not",
    test="packages/molecules/tests/models/test_matter_gpt.py",
)
class MatterGPT(ConditionalLanguageModel):
    """A GPT-2 over words of a line notation, told any of some properties.

    The paper writes crystals as SLICES, whose tokens stand between spaces; the package ``slices`` turns
    crystals into such lines and back, and is not needed here. Any other notation does: ``SymbolTokenizer``
    says what a token is. ``tasks.ConditionalModeling`` trains it on a table of lines and properties.

    Args:
        properties: Names of the numbers that it can be told.
        mixer: As of every ``DecoderLanguageModel``.
        feedforward: As of every ``DecoderLanguageModel``.
        position: As of every ``DecoderLanguageModel``; conditions have places of their own.
        **options: As of every ``ConditionalLanguageModel``.

    Shape:
        As of every ``ConditionalLanguageModel``.

    Source:
        Chen et al. 2024, https://arxiv.org/abs/2408.07608.
    """

    usual_tokenizer: ClassVar[type[Tokenizer]] = SymbolTokenizer

    def __init__(
        self,
        *,
        properties: Sequence[str] = (),
        mixer: MixerFactories = CausalSelfAttention,
        feedforward: FeedForwardFactory = TanhMLP,
        position: Callable[[int, int], PositionTable] | None = PositionTable,
        **options: Passed[_BesideMatterGPT],
    ) -> None:
        parts = {"mixer": mixer, "feedforward": feedforward, "position": position}
        super().__init__(properties=properties, **parts, **options)
