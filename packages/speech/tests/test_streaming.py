"""Speech that still comes: in any pieces it gives what the masked pass over all of it gives."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from heard import LETTERS
from torch import Tensor

from headway.core.blocks import MacaronBlock
from headway.core.errors import UserError
from headway.core.mixers import GatedConvolutionMixer, PoolingMixer, SelectiveScan, SelfAttention
from headway.core.norms import LayerNorm
from headway.core.positions import RelativeSinusoidal
from headway.core.stacks import MergingEncoder, ReusingEncoder
from headway.speech.front_ends import FrontEnd, KaldiFbank, LogMel, NeMoMel, Waveform
from headway.speech.layers import (
    ConvolutionSubsampling,
    JointNetwork,
    SpeechStem,
    StridingSubsampling,
    WaveformStem,
)
from headway.speech.models import CTC, Conformer, CTCAttention, Recogniser, Transducer

RATE = 8000
CAUSAL = partial(GatedConvolutionMixer, window=5, causal=True)
RELATIVE = partial(SelfAttention, position=RelativeSinusoidal)
SMALL = {"sample_rate": RATE, "mels": 20}
FRONT_ENDS: dict[str, Callable[[], FrontEnd]] = {
    "kaldi": partial(KaldiFbank, normalise="none", **SMALL),
    "nemo": partial(NeMoMel, size=256, window=199, hop=80, normalise="none", **SMALL),
    "log-mel": partial(LogMel, size=256, hop=80, normalise="none", **SMALL),
}
STEMS: dict[str, Callable[[int], SpeechStem]] = {
    "causal": partial(StridingSubsampling, features=20, channels=6, causal=True),
    "looking ahead": partial(StridingSubsampling, features=20, channels=6),
    "two convolutions": partial(ConvolutionSubsampling, features=20, channels=4, causal=True),
}


def conformer(stem: Callable[[int], SpeechStem] = STEMS["causal"], **options: Any) -> Conformer:
    options = {"contexts": [(3, 2), (1, 4)], "mixer": RELATIVE, **options}
    block = options.pop("block", partial(MacaronBlock, convolution=CAUSAL))
    return Conformer(dim=16, depth=2, heads=2, stem=stem, block=block, **options).eval()


def ctc(**options: Any) -> CTC:
    front = FRONT_ENDS["kaldi"]()
    model = CTC(encoder=conformer(**options), tokenizer=LETTERS, front_end=front)
    with torch.no_grad():  # so that it writes, and blanks are among it
        model.head.classifier.weight.normal_()
    return model.eval()


def transducer(durations: tuple[int, ...] = ()) -> Transducer:
    model = Transducer(
        encoder=conformer(),
        predictor_dim=8,
        joint=partial(JointNetwork, dim=8),
        durations=durations,
        most=2,
        tokenizer=LETTERS,
        front_end=FRONT_ENDS["kaldi"](),
    )
    with torch.no_grad():  # so that it writes, and not at every frame
        for part in (model.joint, model.predictor, model.encoder.encoder):
            for weight in part.parameters():
                weight += 0.5 * torch.randn_like(weight)
        model.joint.out.bias[model.blank] -= 4.0
    return model.eval()


def recording(seed: int, least: int = 3000, most: int = 9000) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    samples = int(torch.randint(least, most, (), generator=generator))
    return 0.1 * torch.randn(samples, generator=generator)


def pieces(samples: Tensor, seed: int) -> list[Tensor]:
    """Cuts of any length: single samples, none at all, seconds."""
    generator = torch.Generator().manual_seed(seed)
    sizes = []
    while sum(sizes) < len(samples):
        widest = int(torch.tensor([3, 90, 700, 5000])[torch.randint(4, (), generator=generator)])
        left = len(samples) - sum(sizes)
        sizes.append(min(left, int(torch.randint(0, widest, (), generator=generator))))
    return list(samples.split(sizes))


def joined(parts: list[Tensor | None]) -> Tensor:
    return torch.cat([part for part in parts if part is not None], dim=1)


def streamed(model: Any, front: FrontEnd, cut: list[Tensor], **options: Any) -> Tensor:
    """The tokens of the encoder, piece by piece."""
    features, tokens = front.stream(), model.stream(**options)
    found = []
    for piece in cut:
        steps = features.push(piece[None])
        found.append(None if steps is None else tokens.push(steps))
    steps = features.finish()
    found += [None if steps is None else tokens.push(steps), tokens.finish()]
    return joined(found)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("front", "stem"), list(zip(FRONT_ENDS, STEMS, strict=True)))
@torch.no_grad()
def test_any_cut_of_the_samples_gives_the_tokens_of_the_masked_pass(
    front: str, stem: str, seed: int
) -> None:
    torch.manual_seed(seed)
    encoder, ends = conformer(STEMS[stem]), FRONT_ENDS[front]()
    samples = recording(seed)
    wanted = encoder(*ends(samples[None])).encoded
    torch.testing.assert_close(
        streamed(encoder, ends, pieces(samples, seed)), wanted, atol=1e-5, rtol=0
    )
    # Another context of the same model, and the encoder is as it was.
    other = streamed(encoder, ends, pieces(samples, seed + 1), context=(1, 4))
    assert torch.equal(encoder(*ends(samples[None])).encoded, wanted)
    encoder.set_contexts([(1, 4)])
    again = encoder(*ends(samples[None])).encoded
    torch.testing.assert_close(other, again, atol=1e-5, rtol=0)
    assert (again - wanted).abs().max() > 1e-3


@torch.no_grad()
def test_what_is_recurrent_hears_samples_or_uses_blocks_again_streams_too() -> None:
    torch.manual_seed(0)
    mixer = partial(SelectiveScan, states=4)
    stem = partial(WaveformStem, channels=(6, 6), kernels=(10, 3), strides=(5, 4))
    encoder, ends = conformer(stem, mixer=mixer, contexts=()), Waveform(normalise="none")
    samples = recording(1, most=4000)
    wanted = encoder(*ends(samples[None])).encoded
    found = streamed(encoder, ends, pieces(samples, 1))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    assert encoder.stream().chunk == 1
    reusing, features = conformer(stack=ReusingEncoder), torch.randn(1, 100, 20)
    stream = reusing.stream()
    parts = [stream.push(part) for part in features.split(37, dim=1)]
    wanted = reusing(features).encoded
    torch.testing.assert_close(joined([*parts, stream.finish()]), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "make", [ctc, transducer, partial(transducer, (0, 1, 3))], ids=["ctc", "rnnt", "tdt"]
)
@torch.no_grad()
def test_a_stream_writes_what_the_whole_recording_gives(
    make: Callable[[], Recogniser], seed: int
) -> None:
    torch.manual_seed(seed)
    model = make()
    samples = recording(seed, 6000)
    [wanted] = model.hear(samples[None])
    stream = model.stream()
    texts = [stream.push(piece) for piece in pieces(samples, seed)]
    found = stream.finish()
    assert wanted.text
    assert (found.text, found.tokens, found.frames) == (
        wanted.text,
        wanted.tokens,
        wanted.frames,
    )
    assert found.confidence == pytest.approx(wanted.confidence, abs=1e-5)
    assert [(word.text, word.start, word.end) for word in found.words] == [
        (word.text, word.start, word.end) for word in wanted.words
    ]
    assert all(found.text.startswith(text.strip()) for text in texts)  # what is written stays
    assert stream.text in (texts[-1], found.text)


@pytest.mark.parametrize("stem", STEMS)
def test_the_first_tokens_come_when_the_latency_is_over(stem: str) -> None:
    torch.manual_seed(0)
    encoder = conformer(STEMS[stem])
    model = CTC(encoder=encoder, tokenizer=LETTERS, front_end=FRONT_ENDS["nemo"]()).eval()
    stream = model.stream()
    needed = round(stream.latency * RATE)
    samples = recording(0)
    stream.push(samples[: needed - 1])
    assert stream.tokens == 0
    stream.push(samples[needed - 1 : needed])
    assert stream.tokens == 3
    sooner = model.stream(context=(1, 4)).latency
    assert stream.latency - sooner == pytest.approx(2 * model.seconds_per_token)


def test_nothing_behind_the_look_ahead_is_heard_however_deep_the_encoder() -> None:
    torch.manual_seed(0)
    for stem in STEMS.values():
        encoder = conformer(stem)
        features = torch.randn(1, 120, 20, requires_grad=True)
        encoded = encoder(features).encoded
        chunk = encoder.contexts[0][0]
        token = chunk + 1  # in the middle of the second chunk
        (gradient,) = torch.autograd.grad(encoded[0, token, 0], features)
        heard = gradient[0].abs().sum(1).nonzero()[:, 0]
        ahead = chunk * encoder.stride + encoder.stream().needed - 1
        assert int(heard.max()) == ahead
    # Plain attention in the place of the chunks hears all of it.
    plain = conformer(contexts=())
    (gradient,) = torch.autograd.grad(plain(features).encoded[0, token, 0], features)
    assert int(gradient[0].abs().sum(1).nonzero().max()) > ahead


def test_an_item_alone_is_the_item_in_a_batch_and_rows_stream_side_by_side() -> None:
    torch.manual_seed(0)
    encoder = conformer()
    lengths = torch.tensor([90, 33, 120])
    features = torch.randn(3, 120, 20)
    hidden = torch.arange(120) >= lengths[:, None]
    x = features.masked_fill(hidden[..., None], torch.nan).requires_grad_()
    out, tokens, *_ = encoder(x, lengths)
    for row, (length, count) in enumerate(zip(lengths, tokens, strict=True)):
        alone = encoder(features[row : row + 1, :length]).encoded
        torch.testing.assert_close(out[row, :count], alone[0], atol=1e-5, rtol=0)
    real = torch.arange(out.shape[1]) < tokens[:, None]
    (gradient,) = torch.autograd.grad(out[real].sum(), x)
    assert gradient.isfinite().all()
    assert (gradient[hidden] == 0).all()
    stream = encoder.stream(rows=3)
    parts = [stream.push(part) for part in features.split(50, dim=1)]
    side_by_side = joined([*parts, stream.finish()])
    torch.testing.assert_close(side_by_side, encoder(features).encoded, atol=1e-5, rtol=0)


def test_gradients_of_a_batch_are_those_of_its_items() -> None:
    torch.manual_seed(0)
    norm = partial(MacaronBlock, convolution=partial(CAUSAL, norm=LayerNorm))
    encoder = conformer(block=norm, contexts=[(3, 2)]).double().train()
    features, lengths = torch.randn(3, 200, 20).double(), torch.tensor([90, 33, 200])
    weights = torch.randn(25, 16).double()
    parameters = list(encoder.parameters())
    out, tokens, *_ = encoder(features, lengths)
    rows = zip(out, features, lengths, tokens, strict=True)
    together, alone = torch.zeros(()), torch.zeros(())
    for found, item, length, count in rows:
        together = together + (found[:count] * weights[:count]).sum()
        alone = alone + (encoder(item[None, :length]).encoded[0] * weights[:count]).sum()
    gradients = (torch.autograd.grad(one, parameters) for one in (together, alone))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)


def test_attention_without_a_limit_to_the_past_says_when_it_is_full(monkeypatch) -> None:
    monkeypatch.setattr("headway.speech.layers.chunks.MOST", 8)
    mixer = partial(SelfAttention, causal=True, position=RelativeSinusoidal)
    stream = conformer(contexts=(), mixer=mixer).stream()
    stream.push(torch.randn(1, 50, 20))
    with pytest.raises(UserError, match=r"over 8 tokens, .* build it with chunks=\(C, L\)"):
        stream.push(torch.randn(1, 50, 20))
    bounded = conformer().stream()
    assert bounded.push(torch.randn(1, 900, 20)) is not None  # contexts never run full


def test_what_cannot_stream_says_which_part_and_what_to_do() -> None:
    def refused(model: Recogniser, words: str) -> None:
        with pytest.raises(UserError, match=words):
            model.eval().stream()

    whole = partial(MacaronBlock, convolution=partial(GatedConvolutionMixer, window=5))
    refused(ctc(contexts=()), r"blocks.0.mixer.function \(SelfAttention\) looks at .* contexts")
    seeing = partial(SelfAttention, chunks=(4, 1))
    refused(
        ctc(contexts=(), mixer=seeing, block=whole),
        r"blocks.0.convolution.function \(GatedConvolutionMixer\) looks at .* causal=True",
    )
    refused(ctc(contexts=(), mixer=PoolingMixer), r"\(PoolingMixer\) looks at .* causal=True")
    with pytest.raises(UserError, match="GatedConvolutionMixer"):
        conformer(block=whole)
    with pytest.raises(UserError, match="no pair|context is"):
        conformer(contexts=[(0, 1)])
    with pytest.raises(UserError, match="there is none here"):
        conformer(mixer=partial(SelectiveScan, states=4))
    with pytest.raises(UserError, match=r"\(.*\) changes the number of tokens by all that is said"):
        conformer(stack=partial(MergingEncoder, blocks=(1,)))
    model = ctc()
    model.set_front_end(KaldiFbank(normalise="utterance", **SMALL))
    refused(model, "KaldiFbank hears the whole recording .* global or none")
    group = partial(WaveformStem, channels=(6,), kernels=(10,), strides=(5,), norm="group")
    hearing = CTC(encoder=conformer(group), tokenizer=LETTERS, front_end=Waveform(normalise="none"))
    refused(hearing, "WaveformStem looks at the whole recording")
    with pytest.raises(UserError, match=r"call eval\(\) first"):
        ctc().train().stream()
    refused(CTCAttention(encoder=conformer(), tokenizer=LETTERS), "CTCAttention reads the whole")
    stream = ctc().stream()
    with pytest.raises(UserError, match=r"samples \(S,\) as floats .* 8000 Hz"):
        stream.push(torch.zeros(5, dtype=torch.int16))
    with pytest.raises(UserError, match="behind number 0 is not finite"):
        stream.push(torch.full((5,), torch.nan))
    assert stream.push(torch.zeros(0)) == ""
    assert stream.finish().text == ""
    with pytest.raises(UserError, match="has ended"):
        stream.push(torch.zeros(5))


def test_training_draws_a_context_and_evaluation_hears_the_first() -> None:
    torch.manual_seed(0)
    encoder = conformer().train()
    features = torch.randn(1, 80, 20)
    attention = encoder.encoder.blocks[0].mixer.function
    seen = set()
    for _ in range(20):
        encoder(features).encoded.sum().backward()
        seen.add(attention.chunks)
    assert seen == {(3, 2), (1, 4)}
    encoder.eval()
    assert attention.chunks == (3, 2)
    encoder.set_contexts([(2, 2)])
    assert (attention.chunks, encoder.init_args["contexts"]) == ((2, 2), ((2, 2),))
