"""HiFi-SR: what is kept, what is added, and what a transformer is for."""

from functools import partial
from pathlib import Path

import pytest
import torch
from spoken import harmonic
from torch import Tensor

from headway.core.errors import UserError
from headway.core.mixers import ConvolutionMixer
from headway.core.weights import from_pretrained, save_pretrained
from headway.speech.batch import SpeechBatch
from headway.speech.front_ends import LogMel
from headway.speech.layers import ReceptiveFields, WaveGenerator
from headway.speech.layers.activations import Snake
from headway.speech.layers.discriminators import BandDiscriminator
from headway.speech.layers.low_pass import bandwidths, low_pass
from headway.speech.losses import log_spectral_distance
from headway.speech.models import HiFiSR

RATE, HOP = 4000, 40


def model(**options) -> HiFiSR:
    generator = partial(
        WaveGenerator,
        channels=32,
        rates=(10, 4),
        kernels=(20, 8),
        activation=Snake,
        fields=partial(
            ReceptiveFields, kernels=(3,), dilations=((1, 2),), activation=Snake, plain=True
        ),
    )
    front_end = LogMel(sample_rate=RATE, mels=32, size=200, hop=HOP, normalise="none")
    return HiFiSR(
        front_end=front_end, rates=(2000,), generator=generator, dim=32, depth=2, heads=2, **options
    )


def power(sound: Tensor, low: float, high: float) -> Tensor:
    spectrum = torch.fft.rfft(sound).abs().square()
    frequencies = torch.linspace(0, RATE / 2, spectrum.shape[-1])
    return spectrum[..., (low <= frequencies) & (frequencies < high)].sum(-1)


def test_lower_frequencies_pass_and_the_highest_one_is_found() -> None:
    torch.manual_seed(0)
    noise = torch.randn(3, 4000)
    passed = low_pass(noise, torch.tensor([0.5, 0.25, 1.0]))
    assert torch.equal(passed[2], noise[2])
    for row, share in enumerate((0.5, 0.25)):
        edge = share * RATE / 2
        kept = power(passed[row], 0, edge - 100) / power(noise[row], 0, edge - 100)
        left = power(passed[row], edge + 100, RATE) / power(noise[row], edge + 100, RATE)
        assert kept == pytest.approx(1, abs=0.05)
        assert left < 1e-4
    lengths = torch.tensor([4000, 3000, 4000])
    found = bandwidths(passed, lengths)
    assert found == pytest.approx([0.5, 0.25, 1.0], abs=0.03)
    alone = low_pass(noise[:1, :900], torch.tensor([0.5]))
    both = low_pass(torch.stack([noise[0], noise[0]])[:, :900], torch.tensor([0.5, 0.3]))
    torch.testing.assert_close(both[:1], alone)


def test_a_recording_keeps_its_lower_frequencies_and_does_not_depend_on_its_batch() -> None:
    torch.manual_seed(0)
    made = model().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    sounds = torch.stack([harmonic(130, 0.5, RATE), harmonic(170, 0.5, RATE)])
    given = low_pass(sounds, torch.tensor([0.5, 0.5]))
    lengths = torch.tensor([2000, 1210])
    given[1, 1210:] = torch.nan
    renewed, samples = made.renew(given, lengths)
    assert samples.tolist() == [2000, 1200]
    alone, _ = made.renew(given[1:, :1210], lengths[1:])
    torch.testing.assert_close(renewed[1, :1200], alone[0, :1200], rtol=1e-4, atol=1e-5)
    assert not renewed[1, 1200:].any()
    error = power(renewed[0] - given[0], 0, 550) / power(given[0], 0, 550)
    assert error < 1e-2
    assert power(renewed[0], 1100, 2000) > 3 * power(given[0], 1100, 2000)
    plain, _ = model(keep=False).eval().renew(given[:1], lengths[:1])
    assert power(plain[0] - given[0], 0, 550) / power(given[0], 0, 550) > 0.1


def test_bands_are_judged_apart() -> None:
    torch.manual_seed(0)
    judge = BandDiscriminator(sizes=(64, 32), borders=(0, 0.5, 1), channels=4)
    sound = torch.randn(2, 400)
    found = judge(sound)
    assert len(found) == 4
    higher = sound + torch.cos(torch.pi * 0.9 * torch.arange(400.0))
    differs = [
        (one[-1] - other[-1]).abs().amax() for one, other in zip(judge(higher), found, strict=True)
    ]
    assert differs[0] < 0.1 * differs[1]
    assert differs[2] < 0.1 * differs[3]


def test_wrong_use_says_so() -> None:
    with pytest.raises(UserError, match="each lies below the 48000 Hz"):
        HiFiSR(rates=(48000,), dim=16, depth=1, heads=1)
    with pytest.raises(UserError, match="rise from 0 to 1"):
        BandDiscriminator(borders=(0, 0.7, 0.5, 1))


def test_it_goes_through_a_folder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = model().eval()
    save_pretrained(made, tmp_path)
    again = from_pretrained(tmp_path).eval()
    sounds, lengths = torch.randn(1, 800), torch.tensor([800])
    assert torch.equal(made.renew(sounds, lengths)[0], again.renew(sounds, lengths)[0])


def speakers(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Returns a low tone that says who speaks, silence, and a tone whose overtone depends on the speaker.

    Both overtones are above what is heard; the tone itself is the same. A step of features is a whole number
    of periods of each, so a generator learns them soon.
    """
    who = torch.randint(2, (count,), generator=generator)
    times = torch.arange(320) / RATE
    marks = torch.where(who == 0, 200.0, 500.0)[:, None]
    mark = 0.3 * torch.sin(2 * torch.pi * marks * times[:200])
    high = torch.where(who == 0, 1200.0, 1700.0)[:, None]
    tone = torch.sin(2 * torch.pi * 600 * times) + torch.sin(2 * torch.pi * high * times)
    sound = torch.cat([mark, torch.zeros(count, 600), 0.2 * tone], dim=1)
    return sound + 0.01 * torch.randn(sound.shape, generator=generator), who


def upper_frequencies(made: HiFiSR, seed: int, steps: int) -> tuple[float, float]:
    """Returns how often the overtone is that of the speaker, and the log-spectral distance by that heard."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(made.parameters(), lr=3e-3, betas=(0.8, 0.99))
    for _ in range(steps):
        sounds, _ = speakers(8, generator)
        loss = (made(*made.hear(made.spoil(sounds))) - sounds).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    sounds, who = speakers(60, torch.Generator().manual_seed(99))
    lengths = torch.full((60,), sounds.shape[1])
    with torch.no_grad():
        given = made.eval().spoil(sounds)
        renewed, _ = made.renew(given, lengths)
    tail = renewed[:, 840:1100]
    right = (power(tail, 1600, 1900) > power(tail, 1100, 1400)) == (who == 1)
    apart = [log_spectral_distance(x, sounds, size=128).mean() for x in (renewed, given)]
    return right.float().mean().item(), (apart[0] / apart[1]).item()


@pytest.mark.learns
def test_what_is_added_follows_from_what_stands_far_away(seed: int, measured) -> None:
    """A convolution in the place of attention does not see who speaks."""
    torch.manual_seed(seed)
    right, distance = upper_frequencies(model(), seed, 160)
    measured("overtones of the speaker", right, above=0.8)
    measured("distance beside that of what is heard", distance, below=0.6)
    torch.manual_seed(seed)
    plain, _ = upper_frequencies(model(mixer=partial(ConvolutionMixer, axes=1)), seed, 160)
    measured("overtones of the speaker, by convolutions", plain, below=0.7)


def test_a_batch_has_a_loss() -> None:
    torch.manual_seed(0)
    made = model().eval()
    sounds = speakers(2, torch.Generator().manual_seed(0))[0]
    nothing = torch.zeros(2, 0, dtype=torch.int64)
    batch = SpeechBatch(sounds, torch.tensor([1120, 1000]), nothing, nothing.sum(1))
    losses = made.loss(batch)
    assert losses.keys() == {"loss", "spectral"}
    assert all(torch.isfinite(value) for value in losses.values())
