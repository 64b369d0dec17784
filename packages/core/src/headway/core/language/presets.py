"""Published decoders by name: each is a ``DecoderLanguageModel`` with parts of its own."""

from collections.abc import Callable
from functools import partial

from torch import nn

from headway.core.blocks import ParallelBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.feedforward import GELU, MLP, SwiGLU
from headway.core.language.decoder import DecoderLanguageModel, DecoderOptions
from headway.core.mixers import SelfAttention
from headway.core.norms import RMSNorm
from headway.core.passed import Passed
from headway.core.positions import PositionTable, Rotary
from headway.core.stacks.decoder import CausalSelfAttention
from headway.core.systems import system

RotaryAttention = partial(
    SelfAttention, causal=True, position=Rotary, qkv_bias=False, out_bias=False
)
WindowedAttention = partial(RotaryAttention, window=4095)
BiasedAttention = partial(RotaryAttention, qkv_bias=True)
PartlyRotaryAttention = partial(SelfAttention, causal=True, position=partial(Rotary, share=0.25))
TanhMLP = partial(MLP, activation=partial(GELU, approximate="tanh"))
TwoNormsBlock = partial(ParallelBlock, shared_norm=False)


class _BesideLlama(DecoderOptions, total=False):
    block: BlockFactory
    position: Callable[[int, int], PositionTable] | None
    tied: bool


class LlamaOptions(_BesideLlama, total=False):
    """What every Llama with another mixer passes on."""

    feedforward: FeedForwardFactory
    norm: Callable[[int], nn.Module]


class _BesideGPT2(DecoderOptions, total=False):
    norm: Callable[[int], nn.Module]
    block: BlockFactory
    tied: bool


class GPT2Options(_BesideGPT2, total=False):
    """What every GPT-2 with something on top passes on."""

    mixer: MixerFactories
    feedforward: FeedForwardFactory
    position: Callable[[int, int], PositionTable] | None


class _BesideGPTNeoX(DecoderOptions, total=False):
    feedforward: FeedForwardFactory
    norm: Callable[[int], nn.Module]
    position: Callable[[int, int], PositionTable] | None


@system(
    id=None,
    name="Llama",
    paper="https://arxiv.org/abs/2302.13971",
    claim="a decoder with rotations, RMS norms and gated units, equal to transformers' with copied weights",
    test="packages/core/tests/weights/test_language_models.py",
)
class Llama(DecoderLanguageModel):
    """Rotations, RMS norms before each branch, gated units, no biases.

    Args:
        mixer: As of every ``DecoderLanguageModel``.
        feedforward: As of every ``DecoderLanguageModel``.
        norm: As of every ``DecoderLanguageModel``.
        **options: As of every ``DecoderLanguageModel``.

    Source:
        Touvron et al. 2023, https://arxiv.org/abs/2302.13971, section 2.2.
    """

    def __init__(
        self,
        *,
        mixer: MixerFactories = RotaryAttention,
        feedforward: FeedForwardFactory = SwiGLU,
        norm: Callable[[int], nn.Module] = RMSNorm,
        **options: Passed[_BesideLlama],
    ) -> None:
        super().__init__(mixer=mixer, feedforward=feedforward, norm=norm, **options)


class Mistral(Llama):
    """A Llama whose tokens see a window.

    Args:
        mixer: As of every ``DecoderLanguageModel``; a token sees itself and 4,095 before.
        **options: As of every ``DecoderLanguageModel``.

    Source:
        Jiang et al. 2023, https://arxiv.org/abs/2310.06825, section 2.
    """

    def __init__(
        self, *, mixer: MixerFactories = WindowedAttention, **options: Passed[LlamaOptions]
    ) -> None:
        super().__init__(mixer=mixer, **options)


class Qwen2(Llama):
    """A Llama whose queries, keys and values have biases.

    Args:
        mixer: As of every ``DecoderLanguageModel``.
        **options: As of every ``DecoderLanguageModel``.

    Source:
        Yang et al. 2024, https://arxiv.org/abs/2407.10671, section 2.2.
    """

    def __init__(
        self, *, mixer: MixerFactories = BiasedAttention, **options: Passed[LlamaOptions]
    ) -> None:
        super().__init__(mixer=mixer, **options)


class GPT2(DecoderLanguageModel):
    """Learned positions, layer norms before each branch, GELU in its approximation by tanh.

    Args:
        mixer: As of every ``DecoderLanguageModel``.
        feedforward: As of every ``DecoderLanguageModel``.
        position: As of every ``DecoderLanguageModel``.
        **options: As of every ``DecoderLanguageModel``.

    Source:
        Radford et al. 2019, https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf,
        section 2.3.
    """

    def __init__(
        self,
        *,
        mixer: MixerFactories = CausalSelfAttention,
        feedforward: FeedForwardFactory = TanhMLP,
        position: Callable[[int, int], PositionTable] | None = PositionTable,
        **options: Passed[_BesideGPT2],
    ) -> None:
        super().__init__(mixer=mixer, feedforward=feedforward, position=position, **options)


class GPTNeoX(DecoderLanguageModel):
    """Mixer and feed-forward side by side, each behind a norm of its own; a quarter of each head is turned.

    Args:
        mixer: As of every ``DecoderLanguageModel``.
        block: As of every ``DecoderLanguageModel``.
        tied: As of every ``DecoderLanguageModel``.
        **options: As of every ``DecoderLanguageModel``.

    Source:
        Black et al. 2022, https://arxiv.org/abs/2204.06745, section 2.1.
    """

    def __init__(
        self,
        *,
        mixer: MixerFactories = PartlyRotaryAttention,
        block: BlockFactory = TwoNormsBlock,
        tied: bool = False,
        **options: Passed[_BesideGPTNeoX],
    ) -> None:
        super().__init__(mixer=mixer, block=block, tied=tied, **options)
