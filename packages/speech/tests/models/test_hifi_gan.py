"""HiFi-GAN against transformers with copied weights, and a vocoder that learns tones."""

from functools import partial
from pathlib import Path

import pytest
import torch
from spoken import harmonic
from torch import Tensor, nn
from transformers import (
    FastSpeech2ConformerHifiGan,
    FastSpeech2ConformerHifiGanConfig,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
)

from headway.core.errors import UserError
from headway.core.testing.round_trips import check_round_trip
from headway.core.training import AdamW
from headway.core.weights import from_pretrained, save_pretrained
from headway.speech.batch import SpeechBatch
from headway.speech.front_ends import LogMel
from headway.speech.layers import ReceptiveFields, WaveGenerator
from headway.speech.layers.discriminators import PeriodDiscriminator, ScaleDiscriminator
from headway.speech.losses import (
    MelDistance,
    deceiving,
    log_spectral_distance,
    matching,
    telling,
)
from headway.speech.models import HiFiGAN
from headway.speech.sound_model import take_segments
from headway.speech.tasks import SoundGeneration

KINDS = {
    "speecht5": (SpeechT5HifiGan, SpeechT5HifiGanConfig),
    "fastspeech2": (FastSpeech2ConformerHifiGan, FastSpeech2ConformerHifiGanConfig),
}


def published(kind: str, **options) -> nn.Module:
    torch.manual_seed(0)
    model, config = KINDS[kind]
    made = model(
        config(
            model_in_dim=20,
            upsample_initial_channel=16,
            upsample_rates=[4, 3],
            upsample_kernel_sizes=[8, 7],
            resblock_kernel_sizes=[3, 5],
            resblock_dilation_sizes=[[1, 3], [1, 2]],
            **options,
        )
    ).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
        made.mean.normal_()
        made.scale.uniform_(0.5, 2)
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("normalised", [True, False])
def test_sound_and_gradients_are_those_of_transformers(
    kind: str, normalised: bool, tmp_path: Path
) -> None:
    theirs = published(kind, normalize_before=normalised)
    theirs.save_pretrained(tmp_path / "hf")
    ours = from_pretrained(tmp_path / "hf").eval()
    check_round_trip(tmp_path / "hf", tmp_path / "back")
    assert isinstance(ours, HiFiGAN)
    assert ours.front_end.complete
    ours, theirs = ours.double(), theirs.double()
    inputs = torch.randn(2, 9, 20, dtype=torch.float64)
    mine, yours = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
    if normalised:
        found = ours((mine - ours.front_end.mean) / ours.front_end.std)
    else:
        found = ours(mine)
    wanted = theirs(yours)
    torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-9)
    found.square().sum().backward()
    wanted.square().sum().backward()
    torch.testing.assert_close(mine.grad, yours.grad, rtol=1e-6, atol=1e-9)
    # Bands that a voice of natural logarithms writes become those of the vocoder.
    rate = ours.front_end.sample_rate
    voice = LogMel(
        sample_rate=rate, mels=20, hop=12, size=1024, lowest=80, highest=7600, normalise="none"
    ).double()
    spoken = inputs * torch.log(torch.tensor(10.0, dtype=torch.float64)) - 2
    heard = torch.maximum(spoken.exp(), torch.tensor(1e-5)).log10()
    lengths = torch.tensor([9, 9])
    torch.testing.assert_close(
        ours.sound(spoken, lengths, voice), theirs(heard), rtol=1e-5, atol=1e-7
    )


def vocoder(fields=ReceptiveFields, **options) -> HiFiGAN:
    generator = partial(
        WaveGenerator,
        channels=32,
        rates=(5, 4, 4),
        kernels=(11, 8, 8),
        fields=partial(fields, kernels=(3, 7), dilations=((1, 3), (1, 3))),
        **options,
    )
    front_end = LogMel(sample_rate=8000, mels=40, size=256, hop=80, normalise="none")
    return HiFiGAN(front_end=front_end, generator=generator)


def test_an_item_alone_and_in_a_batch_sounds_alike() -> None:
    torch.manual_seed(0)
    model = vocoder().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    features = torch.randn(2, 11, 40, requires_grad=True)
    spoiled = features.detach().clone()
    spoiled[1, 7:] = torch.nan
    spoiled.requires_grad_()
    both = model(spoiled, torch.tensor([11, 7]))
    alone = model(features[1:, :7])
    assert both.shape == (2, 880)
    assert not both[1, 560:].any()
    torch.testing.assert_close(both[1, :560], alone[0], rtol=1e-5, atol=1e-6)
    both[1].square().sum().backward()
    alone.square().sum().backward()
    assert not spoiled.grad[1, 7:].any()
    torch.testing.assert_close(spoiled.grad[1, :7], features.grad[1, :7], rtol=1e-4, atol=1e-6)


def test_folded_weights_answer_the_same_and_go_through_a_folder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = vocoder().eval()
    features = torch.randn(2, 9, 40)
    before = model(features)
    save_pretrained(model, tmp_path / "whole")
    torch.testing.assert_close(from_pretrained(tmp_path / "whole").eval()(features), before)
    count = sum(value.numel() for value in model.state_dict().values())
    model.fold()
    torch.testing.assert_close(model(features), before, rtol=1e-5, atol=1e-6)
    assert sum(value.numel() for value in model.state_dict().values()) < count
    save_pretrained(model, tmp_path / "folded")
    again = from_pretrained(tmp_path / "folded").eval()
    assert torch.equal(again(features), model(features))


def test_judges_look_at_periods_and_scales_and_fixed_ones_learn_nothing() -> None:
    torch.manual_seed(0)
    sound = torch.randn(2, 500)
    periods, scales = (
        PeriodDiscriminator(periods=(2, 7), channels=2),
        ScaleDiscriminator(channels=16),
    )
    found = periods(sound)
    assert [look[-1].shape[0] for look in found] == [2, 2]
    assert [look[0].shape[3] for look in found] == [2, 7]
    # A place of the rows of 7 hears every seventh sample alone.
    changed = sound.clone()
    changed[:, 3::7] += 1
    differs = (periods(changed)[1][-1] - found[1][-1]).abs().sum((0, 1, 2)) > 0
    assert differs.tolist() == [False, False, False, True, False, False, False]
    assert len(scales(sound)) == 3
    for judge in (periods, scales):
        made = torch.randn(2, 500, requires_grad=True)
        real = judge(sound)
        (deceiving(judge.fixed(made)) + matching(real, judge.fixed(made))).backward()
        assert made.grad.abs().sum() > 0
        assert all(parameter.grad is None for parameter in judge.parameters())
        telling(real, judge(made.detach())).backward()
        assert all(parameter.grad is not None for parameter in judge.parameters())


def test_distances_are_zero_for_the_same_sound_and_leave_padding_out() -> None:
    torch.manual_seed(0)
    sound = torch.randn(2, 2000)
    distance = MelDistance(sample_rate=8000, sizes=(128, 256), mels=(10, 20))
    assert distance(sound, sound) == 0
    torch.testing.assert_close(
        distance(2 * sound, sound), torch.log(torch.tensor(2.0)), rtol=1e-4, atol=1e-4
    )
    # A factor of ten in amplitude is 20 dB, two units.
    apart = log_spectral_distance(10 * sound, sound, size=256)
    torch.testing.assert_close(apart, torch.full((2,), 2.0), rtol=1e-3, atol=1e-3)
    short = torch.cat([sound, torch.zeros(2, 1000)], dim=1)
    lengths = torch.tensor([2000, 2000])
    within = log_spectral_distance(10 * short, short, lengths, size=256)
    torch.testing.assert_close(within, apart, rtol=1e-2, atol=1e-2)


def test_stretches_are_features_with_their_samples() -> None:
    torch.manual_seed(0)
    waveforms = torch.arange(400.0).expand(3, 400)
    features = torch.arange(40.0)[None, :, None].expand(3, 40, 2)
    steps = torch.tensor([40, 12, 5])
    seen = set()
    for _ in range(20):
        part, sound = take_segments(steps, features, waveforms, 8, 10)
        assert torch.equal(sound[:, ::10], 10 * part[:, :, 0])
        assert (part[:, -1, 0] < steps.clamp_min(8)).all()
        seen.add(int(part[0, 0, 0]))
    assert len(seen) > 5


def test_wrong_use_says_so() -> None:
    with pytest.raises(UserError, match="8 x 8 x 2 x 2 make 256 samples"):
        HiFiGAN(front_end=LogMel(sample_rate=8000, mels=40, size=512, hop=100))
    with pytest.raises(UserError, match="an even number more"):
        WaveGenerator(8, rates=(4,), kernels=(7,))
    with pytest.raises(UserError, match="must divide by 4"):
        WaveGenerator(8, channels=6, rates=(2, 2), kernels=(4, 4))
    other = LogMel(sample_rate=8000, mels=40, size=256, hop=64, normalise="none")
    with pytest.raises(
        UserError, match="hop of the mel bands is 64, and the vocoder was made for 80"
    ):
        vocoder().sound(torch.zeros(1, 5, 40), torch.tensor([5]), other)
    with pytest.raises(UserError, match="multiple of 16"):
        ScaleDiscriminator(channels=20)
    with pytest.raises(UserError, match="give as many"):
        MelDistance(sizes=(256,), mels=(20, 40))


def reach(model: HiFiGAN) -> int:
    """Returns how many steps of features a sample in the middle hears."""
    features = torch.randn(1, 41, 40, requires_grad=True)
    model(features)[0, 20 * 80 + 40].backward()
    assert features.grad is not None
    return int((features.grad.abs().sum(2) > 0).sum())


def test_a_sample_hears_what_its_branches_see() -> None:
    """More than twice as far as with one convolution in their place."""
    torch.manual_seed(0)
    assert reach(vocoder()) > 2 * reach(vocoder(fields=One)) - 2 > 12


def notes(count: int, generator: torch.Generator) -> Tensor:
    """Returns tones with overtones of any pitch, a quarter of a second each."""
    pitches = 100 + 200 * torch.rand(count, generator=generator)
    return torch.stack([harmonic(float(pitch), 0.25) for pitch in pitches])


@pytest.mark.learns
def test_a_vocoder_learns_tones_from_mel_features_and_judges(seed: int, measured) -> None:
    torch.manual_seed(seed)
    model = vocoder()
    task = SoundGeneration(
        backbone=model,
        discriminators=[PeriodDiscriminator(periods=(2, 5), channels=2)],
        distance=MelDistance(sample_rate=8000, sizes=(128, 256, 512), mels=(16, 32, 64)),
        optimizer=AdamW(lr=3e-3, betas=(0.8, 0.99)),
        segment=16,
    )
    task.log = lambda *_, **__: None
    generator = torch.Generator().manual_seed(seed)

    def batch(count: int) -> SpeechBatch:
        sounds = notes(count, generator)
        nothing = torch.zeros(count, 0, dtype=torch.int64)
        return SpeechBatch(sounds, torch.full((count,), 2000), nothing, nothing.sum(1))

    kept = batch(8)
    before = {name: value.item() for name, value in model.loss(kept).items()}
    optimizer = torch.optim.AdamW(task.parameters(), lr=3e-3, betas=(0.8, 0.99))
    for step in range(60):
        loss = task.training_step(batch(4), step)
        assert isinstance(loss, Tensor)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = {name: value.item() for name, value in model.eval().loss(kept).items()}
    measured("mel error, as a share", after["loss"] / before["loss"], below=0.67)
    measured("spectral distance, as a share", after["spectral"] / before["spectral"], below=0.7)


class One(nn.Module):
    """A single convolution in the place of the branches."""

    def __init__(self, channels: int, **_: object) -> None:
        super().__init__()
        self.only = nn.Conv1d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.only(torch.nn.functional.leaky_relu(x, 0.1))
