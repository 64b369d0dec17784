"""Speeds and noise: exact lengths, exact ratios, and nothing but the seed decides."""

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch
from spoken import tone
from torch import Tensor

from headway.core.errors import UserError
from headway.core.training.sampling import EpochOrder, SharedBatches
from headway.speech.data import (
    AudioFolder,
    DigitStrings,
    FilterPerturbation,
    GainPerturbation,
    NoisePerturbation,
    Perturbation,
    SpeechManifest,
    SpeedPerturbation,
)
from headway.speech.data.audio_data import AudioSet
from headway.speech.data.batching import LengthBatches
from headway.speech.front_ends import KaldiFbank
from headway.speech.layers import ConvolutionSubsampling
from headway.speech.models import CTC, Conformer
from headway.speech.tokenizers import TextTokenizer

Make = Callable[..., Path]


def pitch(waveform: Tensor, rate: int) -> float:
    spectrum = torch.fft.rfft(waveform).abs()
    return float(spectrum.argmax()) * rate / len(waveform)


@pytest.mark.parametrize(("factor", "samples"), [(0.9, 8890), (1.1, 7274), (1.0, 8001)])
def test_a_speed_divides_the_length_and_multiplies_the_pitch(factor: float, samples: int) -> None:
    waveform = torch.from_numpy(tone(1.000125, 8000, 440)).float()
    assert len(waveform) == 8001
    found = SpeedPerturbation(factors=(factor,))(waveform, 8000)
    assert len(found) == samples == -(-8001 * 100 // round(100 * factor))
    assert pitch(found, 8000) == pytest.approx(440 * factor, abs=1)
    assert found.std() == pytest.approx(waveform.std().item(), rel=0.02)


def test_all_speeds_are_drawn_and_what_is_no_speed_is_refused() -> None:
    torch.manual_seed(0)
    speeds = SpeedPerturbation()
    found = {len(speeds(torch.zeros(9900), 16000)) for _ in range(30)}
    assert found == {9000, 9900, 11000}
    assert speeds.longest == pytest.approx(1 / 0.9)
    for factors, said in (((), "factors is empty"), ((0.0,), "0.0 is no speed"), ((1.005,), ".01")):
        with pytest.raises(UserError, match=said):
            SpeedPerturbation(factors=factors)


def noises(folder: Path) -> Path:
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    for name, samples in (("short.wav", 500), ("long.wav", 20000)):
        noise = 0.2 * torch.randn(samples, generator=generator).clamp(-4, 4)
        soundfile.write(folder / name, noise.numpy(), 8000)
    (folder / "notes.txt").write_text("no recording")
    return folder


def test_noise_has_the_power_that_was_drawn(tmp_path: Path) -> None:
    speech = torch.from_numpy(tone(0.5, 8000, 300)).float()
    noise = NoisePerturbation(path=str(noises(tmp_path / "n")), decibels=(3.0, 9.0), share=0.7)
    torch.manual_seed(0)
    ratios, clean = [], 0
    for _ in range(60):
        added = noise(speech, 8000) - speech
        if not added.any():
            clean += 1
            continue
        ratios.append(float(10 * (speech.square().mean() / added.square().mean()).log10()))
    assert min(ratios) >= 2.99
    assert max(ratios) <= 9.01
    assert max(ratios) - min(ratios) > 4
    assert 8 <= clean <= 28
    silent = NoisePerturbation(path=str(tmp_path / "n" / "short.wav"), share=1.0)
    assert not silent(torch.zeros(100), 8000).any()
    with pytest.raises(UserError, match="no recording of noise"):
        NoisePerturbation(path=str(tmp_path / "n" / "notes.txt"))
    with pytest.raises(UserError, match="least and a largest"):
        NoisePerturbation(path=str(tmp_path / "n"), decibels=(9.0, 3.0))


def test_a_gain_lies_between_its_limits_and_changes_nothing_else() -> None:
    speech = torch.from_numpy(tone(0.5, 8000, 300)).float()
    torch.manual_seed(0)
    gain = GainPerturbation(decibels=(-12, 6))
    found = [gain(speech, 8000) for _ in range(50)]
    levels = [float(20 * (one.std() / speech.std()).log10()) for one in found]
    assert -12 <= min(levels) < -9
    assert 3 < max(levels) <= 6
    for one in found:
        torch.testing.assert_close(one / one.std(), speech / speech.std())
    with pytest.raises(UserError, match="at most 60"):
        GainPerturbation(decibels=(3, -3))


def test_a_filter_is_a_line_in_decibels_between_frequencies() -> None:
    torch.manual_seed(0)
    noise = torch.randn(4001)  # odd
    filtered = FilterPerturbation(decibels=(-6, 6), bands=(3, 6))
    seen = []
    for _ in range(30):
        found = filtered(noise, 8000)
        assert found.shape == noise.shape
        ratio = torch.fft.rfft(found.double()) / torch.fft.rfft(noise.double())
        assert ratio.imag.abs().max() < 1e-4  # no frequency moves in time
        curve = 20 * ratio.real.log10()
        assert curve.abs().max() <= 6.001
        bends = (curve[2:] - 2 * curve[1:-1] + curve[:-2]).abs() > 1e-3
        assert bends.sum() <= 10  # at each of five frequencies inside two neighbours at most
        seen.append(float(curve.max() - curve.min()))
    assert max(seen) > 6
    assert float(FilterPerturbation(decibels=(0, 0))(noise, 8000).sub(noise).abs().max()) < 1e-5
    with pytest.raises(UserError, match="of 1 to 100"):
        FilterPerturbation(bands=(0, 3))


def test_recordings_with_classes_are_perturbed_in_training_alone(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for place in range(6):
            file = tmp_path / name / f"{place}.wav"
            soundfile.write(file, tone(0.2 + 0.01 * place, 8000, 300), 8000)
    perturb = [SpeedPerturbation(factors=(0.5,)), GainPerturbation(decibels=(6, 6))]

    def items(perturb: list[Perturbation]) -> tuple[list[Tensor], list[Tensor]]:
        data = AudioFolder(path=str(tmp_path), val=2, test=2, perturb=perturb)
        data.setup()
        found = []
        for part in (data.train_set, data.val_set):
            assert isinstance(part, AudioSet)
            part.use(8000)
            twice = [[part[place] for place in range(len(part))] for _ in range(2)]
            for one, again in zip(*twice, strict=True):
                assert one is not None
                assert again is not None
                torch.testing.assert_close(one.waveform, again.waveform, rtol=0, atol=0)
            found.append([one.waveform for one in twice[0] if one is not None])
        return found[0], found[1]

    (plain, held), (altered, kept) = items([]), items(perturb)
    for one, other in zip(plain, altered, strict=True):
        assert len(other) == 2 * len(one)
        assert other.std() / one.std() == pytest.approx(10 ** (6 / 20), rel=0.02)
    for one, other in zip(held, kept, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def listener(letters: str = "ab ") -> CTC:
    stem = ConvolutionSubsampling
    encoder = Conformer(
        dim=8, depth=1, heads=1, stem=lambda dim: stem(dim, features=10, channels=2)
    )
    front_end = KaldiFbank(mels=10, normalise="none")
    tokenizer = TextTokenizer(vocabulary=("<blank>", *letters))
    return CTC(encoder=encoder, tokenizer=tokenizer, front_end=front_end)


def test_training_rows_alone_are_perturbed_as_seed_epoch_and_index_say(
    make_manifest: Make, tmp_path: Path
) -> None:
    path = make_manifest()
    perturb = [SpeedPerturbation(), NoisePerturbation(path=str(noises(tmp_path / "n")))]

    def items(data: SpeechManifest, epoch: int) -> list:
        data.use(listener())
        loader = data.seeded(data.train_set)
        return [loader[epoch, index] for index in range(len(data.train_set))]

    found = [
        items(SpeechManifest(path=str(path), val=2, perturb=perturb, seed=seed), epoch)
        for seed, epoch in ((0, 0), (0, 0), (0, 1), (1, 0))
    ]
    plain = items(SpeechManifest(path=str(path), val=2), 0)
    for one, other in zip(found[0], found[1], strict=True):
        assert torch.equal(one.waveform, other.waveform)
    for other in (*found[2:], plain):
        assert any(
            len(one.waveform) != len(two.waveform) or not torch.equal(one.waveform, two.waveform)
            for one, two in zip(found[0], other, strict=True)
        )
        assert [one.targets.tolist() for one in found[0]] == [one.targets.tolist() for one in other]
    data = SpeechManifest(path=str(path), val=2, perturb=perturb)
    data.use(listener())
    plain_data = SpeechManifest(path=str(path), val=2)
    plain_data.use(listener())
    assert torch.equal(data.val_set[0].waveform, plain_data.val_set[0].waveform)
    measured = zip(data.recordings(16000), plain_data.recordings(16000), strict=True)
    assert all(torch.equal(one, other) for one, other in measured)


def test_long_recordings_take_more_of_the_budget_and_every_device_takes_as_many_steps() -> None:
    seconds = [0.5 + 0.1 * (7 * index % 200) for index in range(300)]

    def batches(quadratic: float | None, **place: int) -> LengthBatches:
        order = EpochOrder(300, seed=3, **place)
        return LengthBatches(
            order, seconds, batch_seconds=60, batch_size=64, quadratic_seconds=quadratic
        )

    plain, tuned = batches(None), batches(10.0)

    def longest(found: LengthBatches, least: float) -> int:
        return max(len(batch) for batch in found if max(seconds[i] for i in batch) > least)

    assert longest(plain, 15) >= 3
    assert longest(tuned, 15) == 1
    for batch in tuned:
        length = max(seconds[index] for index in batch)
        assert len(batch) == 1 or len(batch) * (length + length**2 / 10) <= 60
    assert 0 < tuned.padding() < 0.15
    padded = sum(len(b) * max(seconds[i] for i in b) for b in tuned)
    assert tuned.padding() == pytest.approx(1 - sum(seconds) / padded)
    assert list(tuned) == list(batches(10.0))
    for world in (2, 3):
        shares = [
            list(SharedBatches(batches(10.0, rank=rank, world=world), rank=rank, world=world))
            for rank in range(world)
        ]
        assert len({len(share) for share in shares}) == 1
        heard = {index for share in shares for batch in share for index in batch}
        assert heard == set(range(300))


def test_a_budget_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="quadratic_seconds is 0"):
        DigitStrings(path=str(tmp_path), quadratic_seconds=0)
