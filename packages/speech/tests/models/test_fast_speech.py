"""Synthesis: alignments against all that there are, and voices that learn where each letter is."""

from functools import partial
from itertools import combinations
from pathlib import Path

import pytest
import torch
from spoken import harmonic
from torch import Tensor

from headway.core.errors import UserError
from headway.core.weights import from_pretrained, save_pretrained
from headway.speech.batch import SpeechBatch, padded
from headway.speech.front_ends import LogMel
from headway.speech.layers import ConvolutionalMLP
from headway.speech.layers.alignment import (
    alignment_loss,
    best_durations,
    spread,
    token_means,
    uniform_durations,
)
from headway.speech.layers.pitch import pitch
from headway.speech.layers.variance import VariancePredictor
from headway.speech.models import FastSpeech, MixtureAligner, UniformAligner, Variances
from headway.speech.models.fast_speech import spoken_text
from headway.speech.synthesiser import Manner
from headway.speech.vocoders import griffin_lim, linear_amplitudes

RATE, HOP = 8000, 80


def alignments(tokens: int, steps: int) -> list[list[int]]:
    """All ways to share steps out among tokens, at least one for each."""
    borders = combinations(range(1, steps), tokens - 1)
    return [[b - a for a, b in zip((0, *cut), (*cut, steps), strict=True)] for cut in borders]


def likelihood(scores: Tensor, durations: list[int]) -> Tensor:
    owner = [place for place, steps in enumerate(durations) for _ in range(steps)]
    return scores[range(len(owner)), owner].sum()


def test_the_loss_sums_over_all_alignments_and_the_best_one_is_found() -> None:
    torch.manual_seed(0)
    tokens, steps = torch.tensor([3, 4, 1]), torch.tensor([7, 4, 3])
    scores = (5 * torch.randn(3, 7, 4, dtype=torch.float64)).requires_grad_()
    expected, best = [], []
    for item, (count, length) in enumerate(zip(tokens.tolist(), steps.tolist(), strict=True)):
        ways = alignments(count, length)
        values = torch.stack([likelihood(scores[item], way) for way in ways])
        expected.append(-values.logsumexp(0) / length)
        best.append(ways[int(values.argmax())])
    found = alignment_loss(scores, tokens, steps)
    torch.testing.assert_close(found, torch.stack(expected).float(), atol=1e-5, rtol=1e-5)
    [one] = torch.autograd.grad(found.sum(), scores)
    [two] = torch.autograd.grad(torch.stack(expected).sum(), scores)
    torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
    durations = best_durations(scores, tokens, steps)
    for item, way in enumerate(best):
        assert durations[item].tolist() == way + [0] * (4 - len(way))
    shared = uniform_durations(tokens, steps, 4)
    assert shared.sum(1).tolist() == steps.tolist()
    assert shared[0].tolist() == [2, 2, 3, 0]


def test_tokens_are_spread_over_their_steps_and_averaged_back() -> None:
    x = torch.tensor([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0]]])
    durations = torch.tensor([[2, 0, 3], [1, 1, 0]])
    out = spread(x, durations)[..., 0]
    assert out.tolist() == [[1, 1, 3, 3, 3], [4, 5, 0, 0, 0]]
    values = torch.arange(10.0).reshape(2, 5)
    assert token_means(values, durations).tolist() == [[0.5, 0, 3], [5, 6, 0]]
    weight = torch.tensor([[1.0, 0, 0, 0, 1], [0, 1, 0, 0, 0]])
    assert token_means(values, durations, weight).tolist() == [[0, 0, 4], [0, 6, 0]]


def test_pitch_is_that_of_a_voice_and_noise_has_none() -> None:
    for hertz in (90.0, 150.0, 310.0):
        octaves, voiced = pitch(harmonic(hertz)[None], sample_rate=RATE, hop=HOP)
        inner = slice(5, -5)
        assert voiced[0, inner].all()
        assert (200 * 2 ** octaves[0, inner] - hertz).abs().max() < 0.04 * hertz
    torch.manual_seed(0)
    octaves, voiced = pitch(0.1 * torch.randn(1, 4000), sample_rate=RATE, hop=HOP)
    assert voiced.float().mean() < 0.1
    assert not octaves[~voiced].any()


def test_mel_features_become_sound_with_the_same_features() -> None:
    front_end = LogMel(sample_rate=RATE, mels=40, size=256, hop=HOP, normalise="none")
    sound = torch.cat([harmonic(150), harmonic(220), harmonic(180)])
    [features], [steps] = front_end(sound[None])
    assert steps == len(sound) // HOP == len(features)
    bands = front_end.amplitudes(features)
    found = linear_amplitudes(bands, front_end.banks)
    assert (found >= 0).all()
    assert (found @ front_end.banks - bands).abs().mean() < 0.02 * bands.mean()
    again = griffin_lim(features, front_end)
    assert len(again) == int(steps) * HOP
    [heard], _ = front_end(again[None])
    silent = (torch.randn(len(again)) * 0.1)[None]
    far = (front_end(silent).inputs[0] - features).abs()[3:-3].mean()
    assert (heard - features).abs()[3:-3].mean() < 0.15 * far
    assert torch.equal(griffin_lim(features, front_end), again)
    utterance = LogMel(sample_rate=RATE, mels=40, size=256, hop=HOP, normalise="utterance")
    with pytest.raises(UserError, match="normalise globally"):
        utterance.amplitudes(features)


def voice(aligner=MixtureAligner, variances=Variances, dim: int = 32, **options) -> FastSpeech:
    predictor = partial(VariancePredictor, dropout=0.0)
    return FastSpeech(
        dim=dim,
        depth=1,
        decoder_depth=1,
        heads=2,
        tokenizer=spoken_text().extended("abcd "),
        front_end=LogMel(sample_rate=RATE, mels=20, size=256, hop=HOP, normalise="none"),
        aligner=aligner,
        variances=None if variances is None else partial(variances, predictor=predictor),
        feedforward=partial(ConvolutionalMLP, kernels=(3, 1), mlp_ratio=2.0),
        dropout=0.0,
        predictor=predictor,
        **options,
    )


TONES = {"a": 110.0, "b": 160.0, "c": 230.0, "d": 330.0}


def sing(text: str, generator: torch.Generator) -> tuple[Tensor, list[int]]:
    """Returns a tone for each letter, long or short by chance, in silence; and the steps of each."""
    steps = [int(torch.randint(3, 20, (), generator=generator)) for _ in text]
    ends = [int(torch.randint(3, 8, (), generator=generator)) for _ in range(2)]
    sound = [harmonic(TONES[letter], n * HOP / RATE) for letter, n in zip(text, steps, strict=True)]
    whole = torch.cat([torch.zeros(ends[0] * HOP), *sound, torch.zeros(ends[1] * HOP)])
    whole = whole + 0.003 * torch.randn(len(whole), generator=generator)
    return whole, [ends[0], *steps, ends[1]]


def songs(model: FastSpeech, count: int, seed: int) -> tuple[SpeechBatch, list[list[int]]]:
    generator = torch.Generator().manual_seed(seed)
    texts = []
    for _ in range(count):
        letters = torch.randint(4, (5,), generator=generator).tolist()
        text = "".join("abcd"[n] for n in letters)
        # Neighbours that are alike have no border that can be heard.
        texts.append("".join(x for x, y in zip(text, " " + text, strict=False) if x != y))
    sung = [sing(text, generator) for text in texts]
    targets = [torch.tensor([model.tokenizer.numbers[x] for x in text]) for text in texts]
    batch = SpeechBatch(*padded([sound for sound, _ in sung]), *padded(targets))
    return batch, [steps for _, steps in sung]


def test_a_text_alone_and_in_a_batch_is_spoken_alike() -> None:
    torch.manual_seed(0)
    model = voice().eval()
    batch, _ = songs(model, 3, seed=0)
    tokens, lengths = batch.targets, batch.target_lengths
    inputs = batch.inputs.clone()
    for item, length in enumerate(batch.lengths.tolist()):
        inputs[item, length:] = torch.nan
    owned = model.align(inputs, batch.lengths, tokens, lengths)
    spoken = model.speak(tokens, lengths)
    losses = model.loss(batch._replace(inputs=inputs))
    assert all(torch.isfinite(value) for value in losses.values())
    losses["loss"].backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    for item in range(3):
        text, samples = int(lengths[item]), int(batch.lengths[item])
        alone = model.speak(tokens[item : item + 1, :text], lengths[item : item + 1])
        assert alone.lengths[0] == spoken.lengths[item] == alone.durations.sum()
        steps = int(alone.lengths[0])
        torch.testing.assert_close(
            spoken.features[item, :steps], alone.features[0], atol=1e-5, rtol=1e-5
        )
        assert not spoken.features[item, steps:].any()
        one = model.align(
            batch.inputs[item : item + 1, :samples],
            batch.lengths[item : item + 1],
            tokens[item : item + 1, :text],
            lengths[item : item + 1],
        )
        assert owned[item, : text + 2].tolist() == one[0].tolist()
        assert int(owned[item].sum()) == samples // HOP


def test_the_manner_changes_what_it_says(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = voice().eval()
    with torch.no_grad():
        model.durations.head.bias.fill_(2.5)
    tokens, lengths = torch.tensor([[3, 4, 5]]), torch.tensor([3])
    plain = model.speak(tokens, lengths)
    fast = model.speak(tokens, lengths, manner=Manner(speed=2.0))
    assert fast.lengths[0] == pytest.approx(int(plain.lengths[0]) / 2, abs=3)
    high = model.speak(tokens, lengths, manner=Manner(pitch=5.0))
    assert not torch.allclose(high.features, plain.features)
    again = from_pretrained(save_pretrained(model, tmp_path)).eval()
    torch.testing.assert_close(again.speak(tokens, lengths).features, plain.features)
    bare = voice(variances=None).eval()
    with pytest.raises(UserError, match="predicts neither pitch nor energy"):
        bare.speak(tokens, lengths, manner=Manner(pitch=1.0))
    with pytest.raises(UserError, match="speed is 0"):
        Manner(speed=0)


def trained(aligner, seed: int, steps: int = 160) -> FastSpeech:
    torch.manual_seed(seed)
    model = voice(aligner).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for step in range(steps):
        batch, _ = songs(model, 5, seed=1000 * seed + step)
        optimiser.zero_grad()
        model.loss(batch)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    return model.eval()


@pytest.mark.learns
def test_letters_are_found_in_speech_and_spoken_better_for_it(seed: int, measured) -> None:
    """Even durations in the place of the learned ones are further from the truth and from the sound."""
    far, mel = {}, {}
    for aligner in (MixtureAligner, UniformAligner):
        model = trained(aligner, seed)
        batch, truth = songs(model, 32, seed=-1 - seed)
        with torch.no_grad():
            owned = model.align(batch.inputs, batch.lengths, batch.targets, batch.target_lengths)
            mel[aligner] = float(model.loss(batch)["mel"])
        off = [
            (row[: len(steps)].cumsum(0) - torch.tensor(steps).cumsum(0)).abs().float().mean()
            for row, steps in zip(owned, truth, strict=True)
        ]
        far[aligner] = float(torch.stack(off).mean())
    measured("borders, in steps", far[MixtureAligner], below=0.5 * far[UniformAligner])
    measured("mel error", mel[MixtureAligner], below=0.85 * mel[UniformAligner])
