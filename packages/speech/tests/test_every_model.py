"""Every model of the domain, copied, moved, saved and exported with a free batch and free time."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from headway.core.blocks import MacaronBlock, PostNormMacaronBlock, PreNormBlock
from headway.core.language import DecoderLanguageModel
from headway.core.mixers import (
    GatedBiasAttention,
    GatedConvolutionMixer,
    LegendreMemory,
    NeighbourhoodAttention,
    PoolingMixer,
    SelectiveScan,
    SelfAttention,
)
from headway.core.ops.neighbourhood import native
from headway.core.positions import BucketedBias, Rotary
from headway.core.stacks import Encoder
from headway.core.testing.models import Case, check_copies, check_graph
from headway.speech import models
from headway.speech.front_ends import FixedFbank, KaldiFbank, LogMel, Waveform, WhisperMel
from headway.speech.layers import (
    ConvolutionalPosition,
    ConvolutionSubsampling,
    GatedStem,
    InterCTC,
    JointNetwork,
    StridingSubsampling,
    WaveformStem,
    WaveGenerator,
)
from headway.speech.layers.mel_codes import MelCodes
from headway.speech.layers.patches import LocalDiffusion, PatchReader
from headway.speech.models import (
    AST,
    CTC,
    TERA,
    ASiT,
    Conformer,
    ConformerVoice,
    CTCAttention,
    DASpeech,
    DATransformer,
    DiTAR,
    FastSpeech,
    HiFiGAN,
    HiFiSR,
    Moonshine,
    Paraformer,
    ParallelDecoder,
    SmallE,
    SpeechClassifier,
    Speechformer,
    Transducer,
    Wav2Vec2,
    Whisper,
)
from headway.speech.models.fast_speech import spoken_text
from headway.speech.models.moonshine import MoonshineStem, begun
from headway.speech.tokenizers import TextTokenizer

LETTERS = TextTokenizer(vocabulary=tuple("ab_cde"), blank=2)
PLAIN = partial(KaldiFbank, mels=10, normalise="none")


def conformer() -> Conformer:
    return Conformer(
        dim=16,
        depth=1,
        heads=2,
        stem=partial(ConvolutionSubsampling, features=10, channels=3),
        block=partial(MacaronBlock, convolution=partial(GatedConvolutionMixer, window=3)),
    )


def streaming() -> Conformer:
    convolution = partial(GatedConvolutionMixer, window=3, causal=True)
    return Conformer(
        dim=16,
        depth=1,
        heads=2,
        stem=partial(StridingSubsampling, features=10, channels=3, stride=4, causal=True),
        block=partial(MacaronBlock, convolution=convolution),
        contexts=[(2, 1), (1, 4)],
    )


def speechformer() -> Speechformer:
    stem = partial(GatedStem, features=10, channels=6)
    return Speechformer(dim=16, depth=1, lower_depth=2, heads=2, stem=stem)


def features(batch: int, frames: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(frames)
    lengths = frames - 4 * torch.arange(batch)
    return torch.randn(batch, frames, 10, generator=generator), lengths


def whisper() -> Whisper:
    front_end = WhisperMel(mels=10, seconds=0.2, filling="zeros")
    sizes = {"dim": 16, "depth": 1, "heads": 2, "max_length": 8}
    return Whisper(tokenizer=LETTERS, front_end=front_end, suppressed=(1,), **sizes)


def window(batch: int, size: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(batch)
    tokens = torch.arange(3 * batch).view(batch, 3) % 6
    return torch.randn(batch, 20, 10, generator=generator), tokens


def voice() -> FastSpeech:
    return FastSpeech(
        dim=16,
        depth=1,
        decoder_depth=1,
        tokenizer=spoken_text().extended("abc"),
        front_end=LogMel(sample_rate=8000, mels=10, size=256, hop=80, normalise="none"),
    )


def published_voice() -> ConformerVoice:
    stack = partial(Encoder, depth=1, heads=2, block=PostNormMacaronBlock, final_norm=False)
    front_end = LogMel(sample_rate=8000, mels=10, size=256, hop=80, normalise="none")
    return ConformerVoice(dim=16, encoder=stack, decoder=stack, front_end=front_end)


def texts(batch: int, tokens: int) -> tuple[Tensor, Tensor, Tensor, int]:
    generator = torch.Generator().manual_seed(tokens)
    numbers = torch.randint(3, 6, (batch, tokens), generator=generator)
    lengths = tokens - torch.arange(batch)
    durations = torch.randint(1, 4, (batch, tokens), generator=generator)
    return numbers, lengths, durations * (torch.arange(tokens) < lengths[:, None]), 3 * tokens


def voiced(batch: int, tokens: int) -> tuple[Tensor, Tensor, Tensor, int]:
    numbers, *others = texts(batch, tokens)
    return numbers % 3, *others


def vocoder() -> HiFiGAN:
    # PyTorch pickles no weights that are kept as length and direction.
    return HiFiGAN(
        front_end=LogMel(sample_rate=8000, mels=10, size=256, hop=6, normalise="none"),
        generator=partial(
            WaveGenerator, channels=8, rates=(3, 2), kernels=(5, 4), normalised=False
        ),
    )


def wider() -> HiFiSR:
    given = vocoder().init_args
    return HiFiSR(**given, rates=(4000,), dim=8, depth=1, heads=2)


def patches() -> DiTAR:
    mixer = partial(SelfAttention, position=Rotary)
    return DiTAR(
        dim=16,
        depth=1,
        heads=2,
        tokenizer=spoken_text().extended("abc"),
        front_end=LogMel(sample_rate=8000, mels=10, size=256, hop=80, normalise="none"),
        reader=partial(PatchReader, mixer=mixer, depth=1, heads=2),
        writer=partial(LocalDiffusion, mixer=mixer, depth=1, heads=2),
    )


def said(batch: int, tokens: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    numbers = torch.randint(3, 6, (batch, tokens), generator=generator)
    fewer = torch.arange(batch)
    return numbers, tokens - fewer, torch.randn(batch, 4, 4, 10, generator=generator), 4 - fewer % 3


def words() -> SmallE:
    return SmallE(
        codes=partial(MelCodes, frames=2, words=5, levels=2),
        dim=16,
        depth=1,
        text_depth=1,
        heads=2,
        tokenizer=spoken_text().extended("abc"),
        front_end=LogMel(sample_rate=8000, mels=10, size=256, hop=80, normalise="none"),
    )


def worded(batch: int, tokens: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    numbers = torch.randint(3, 6, (batch, tokens), generator=generator)
    fewer = torch.arange(batch)
    rows = torch.randint(5, (batch, 8, 2), generator=generator)
    return numbers, tokens - fewer, rows, 6 - fewer % 3


def ast() -> AST:
    front_end = FixedFbank(mels=10, steps=40)
    return AST(classes=("a", "b"), front_end=front_end, dim=16, depth=1, heads=2, patch=6, stride=4)


def waveform_recogniser() -> CTC:
    far = partial(BucketedBias, buckets=8, max_distance=12)
    encoder = Wav2Vec2(
        dim=16,
        depth=2,
        heads=2,
        stem=partial(WaveformStem, channels=(6, 6, 6), kernels=(10, 3, 2), strides=(5, 2, 2)),
        position=partial(ConvolutionalPosition, window=4, groups=2),
        mixer=partial(GatedBiasAttention, relative=far),
    )
    return CTC(encoder=encoder, tokenizer=LETTERS, front_end=Waveform())


def waveforms(batch: int, samples: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(samples)
    return torch.randn(batch, samples, generator=generator), samples - 9 * torch.arange(batch)


def moonshine() -> Moonshine:
    encoder = Conformer(dim=16, depth=1, heads=2, stem=MoonshineStem, block=PreNormBlock)
    decoder = partial(DecoderLanguageModel, dim=16, depth=1, heads=2, max_length=32)
    return Moonshine(encoder=encoder, decoder=decoder, tokenizer=begun("words").extended("abc"))


def told(batch: int, samples: int) -> tuple[Tensor, Tensor, Tensor]:
    inputs, lengths = waveforms(batch, samples)
    return inputs, torch.arange(3 * batch).view(batch, 3) % 5, lengths


# Two tokens at least: an axis of one is another graph.
SOUND = {"inputs": features, "sizes": (37, 21, 64), "least": 5}
CASES = {
    "TERA": Case(make=lambda: TERA(encoder=conformer(), front_end=PLAIN()), **SOUND),
    "Transducer": Case(
        make=lambda: Transducer(
            encoder=conformer(),
            predictor_dim=8,
            joint=partial(JointNetwork, dim=8),
            durations=(0, 1, 2),
            tokenizer=LETTERS,
            front_end=PLAIN(),
        ),
        **SOUND,
    ),
    "CTCAttention": Case(
        make=lambda: CTCAttention(
            encoder=conformer(),
            decoder=partial(DecoderLanguageModel, dim=16, depth=1, heads=2, max_length=32),
            intermediate=InterCTC(blocks=(1,)),
            tokenizer=LETTERS,
            front_end=PLAIN(),
        ),
        **SOUND,
    ),
    "Paraformer": Case(
        make=lambda: Paraformer(
            encoder=conformer(),
            decoder=partial(ParallelDecoder, depth=1, heads=2),
            tokenizer=LETTERS,
            front_end=PLAIN(),
        ),
        **SOUND,
    ),
    "DASpeech": Case(
        make=lambda: DASpeech(
            encoder=conformer(),
            decoder=partial(ParallelDecoder, depth=1, heads=2),
            tokenizer=spoken_text().extended("abc"),
            front_end=KaldiFbank(sample_rate=8000, mels=10, normalise="none"),
            voice=partial(
                FastSpeech,
                dim=8,
                depth=1,
                decoder_depth=1,
                front_end=LogMel(sample_rate=8000, mels=10, size=256, hop=80, normalise="none"),
            ),
            voice_dim=8,
        ),
        **SOUND,
    ),
    "DATransformer": Case(
        make=lambda: DATransformer(
            encoder=conformer(),
            decoder=partial(ParallelDecoder, depth=1, heads=2),
            tokenizer=spoken_text().extended("abc"),
            front_end=PLAIN(),
        ),
        **SOUND,
    ),
    "DiTAR": Case(make=patches, inputs=said, sizes=(9, 5, 12), least=3),
    "SmallE": Case(make=words, inputs=worded, sizes=(9, 5, 12), least=3),
    "ConformerVoice": Case(make=published_voice, inputs=voiced, sizes=(9, 5, 12), least=3),
    "FastSpeech": Case(make=voice, inputs=texts, sizes=(9, 5, 12), least=3),
    "HiFiGAN": Case(make=vocoder, inputs=features, sizes=(9, 5, 30), least=4),
    "HiFiSR": Case(make=wider, inputs=features, sizes=(9, 5, 30), least=4),
    "AST": Case(make=ast, inputs=lambda batch, _: features(batch, 40)[:1]),
    "ASiT": Case(
        make=lambda: ASiT(classifier=ast(), answers=8, local_answers=8, hidden=8),
        inputs=lambda batch, _: features(batch, 40)[:1],
    ),
    "Conformer": Case(make=conformer, **SOUND),
    "CTC": Case(
        make=lambda: CTC(encoder=conformer(), tokenizer=LETTERS, front_end=PLAIN()), **SOUND
    ),
    "Speechformer": Case(
        make=lambda: CTC(encoder=speechformer(), tokenizer=LETTERS, front_end=PLAIN()), **SOUND
    ),
    "CTC-streaming": Case(
        make=lambda: CTC(encoder=streaming(), tokenizer=LETTERS, front_end=PLAIN()), **SOUND
    ),
    "Whisper": Case(make=whisper, inputs=window),
}

CASES["Moonshine"] = Case(make=moonshine, inputs=told, sizes=(4000,))
CASES["SpeechClassifier"] = Case(
    make=lambda: SpeechClassifier(
        encoder=waveform_recogniser().encoder, classes=("a", "b"), dim=8, every_layer=True
    ),
    inputs=waveforms,
    sizes=(437,),
)
CASES["Wav2Vec2"] = Case(
    make=waveform_recogniser, inputs=waveforms, sizes=(437, 300, 900), least=80
)


# What other cases hold is tried by itself in `make test-all`.
PARTS, SLOW = ("Conformer",), [pytest.mark.slow]


def test_every_model_has_a_case() -> None:
    assert CASES.keys() >= set(models.list_models())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=SLOW if name in PARTS else []) for name in CASES]
)
def test_copies_of_a_model_answer_as_it_does(name: str, tmp_path: Path) -> None:
    check_copies(CASES[name], tmp_path)


@pytest.mark.parametrize(
    "name", ["CTC", "CTC-streaming", "Wav2Vec2", pytest.param("AST", marks=SLOW)]
)
def test_a_model_exports_with_a_free_batch_and_free_time(name: str, tmp_path: Path) -> None:
    check_graph(CASES[name], tmp_path / "model.pt2")


def test_waveforms_and_every_kind_of_mixer_export_with_free_time(tmp_path: Path) -> None:
    """Their number of tokens is computed from the free one by strides, which no tracer can divide.

    Neighbourhoods need their kernels for it, as they say; without them a plain mixer takes their place.
    """
    fast = native.reason_against() is None
    near = partial(NeighbourhoodAttention, window=(5,)) if fast else PoolingMixer

    def recogniser() -> CTC:
        remembering = partial(LegendreMemory, order=4, window=6)
        mixers = iter((SelfAttention, SelectiveScan, remembering, near))
        encoder = Conformer(
            dim=16,
            depth=4,
            heads=2,
            mixer=lambda dim, heads: next(mixers)(dim, heads),
            stem=partial(WaveformStem, channels=(6, 6, 6), kernels=(10, 3, 2), strides=(5, 2, 2)),
            block=partial(MacaronBlock, convolution=partial(GatedConvolutionMixer, window=3)),
        )
        return CTC(encoder=encoder, tokenizer=LETTERS, front_end=Waveform())

    case = Case(make=recogniser, inputs=waveforms, sizes=(437, 300, 900), least=80)
    check_graph(case, tmp_path / "model.pt2")
