"""LLamol: a Llama of molecules that is told properties and a fragment."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from torch import nn

from headway.core.blocks.block import FeedForwardFactory, MixerFactories
from headway.core.feedforward import SwiGLU
from headway.core.language import ConditionalLanguageModel, ConditionalParts, Tokenizer
from headway.core.language.presets import RotaryAttention
from headway.core.norms import RMSNorm
from headway.core.passed import Passed
from headway.core.positions import PositionTable
from headway.core.systems import system
from headway.molecules.notation import SmilesTokenizer


class _BesideLLamol(ConditionalParts, total=False):
    position: Callable[[int, int], PositionTable] | None


@system(
    id=418,
    name="LLamol",
    paper="https://doi.org/10.1186/s13321-024-00863-8",
    claim="told any subset of properties and a fragment, it writes molecules that have them; the same "
    "decoder that is told nothing does not",
    test="packages/molecules/tests/models/test_llamol.py",
)
class LLamol(ConditionalLanguageModel):
    """A Llama over SMILES that is told any of some properties, and a piece of the molecule.

    Each row of a batch may be told other things; ``tasks.ConditionalModeling`` trains it (stochastic context
    learning). Written from the paper's text alone. The published model has 8 blocks of 384 channels, and its
    properties are logP, SA and weight.

    Args:
        properties: Names of the numbers that it can be told.
        mixer: As of every ``DecoderLanguageModel``.
        feedforward: As of every ``DecoderLanguageModel``.
        norm: As of every ``DecoderLanguageModel``.
        **options: As of every ``ConditionalLanguageModel``.

    Shape:
        As of every ``ConditionalLanguageModel``.

    Source:
        Dobberstein et al. 2024, https://doi.org/10.1186/s13321-024-00863-8.
    """

    usual_tokenizer: ClassVar[type[Tokenizer]] = SmilesTokenizer

    def __init__(
        self,
        *,
        properties: Sequence[str] = ("logP", "SA", "weight"),
        mixer: MixerFactories = RotaryAttention,
        feedforward: FeedForwardFactory = SwiGLU,
        norm: Callable[[int], nn.Module] = RMSNorm,
        **options: Passed[_BesideLLamol],
    ) -> None:
        parts = {"mixer": mixer, "feedforward": feedforward, "norm": norm}
        super().__init__(properties=properties, **parts, **options)
