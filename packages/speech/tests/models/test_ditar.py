"""DiTAR: speech patch by patch, and what drawing a patch is for."""

from functools import partial
from pathlib import Path

import pytest
import torch
from spoken import harmonic
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.weights import from_pretrained, save_pretrained
from headway.speech.batch import SpeechBatch, padded
from headway.speech.front_ends import LogMel
from headway.speech.layers.patches import LocalDiffusion, PatchReader, PatchWriter, cut_patches
from headway.speech.models import DiTAR
from headway.speech.models.ditar import ALL
from headway.speech.models.fast_speech import framed, spoken_text
from headway.speech.synthesiser import Manner

RATE, HOP = 8000, 80
DIFFUSION = partial(LocalDiffusion, mixer=ALL, depth=2, heads=2, steps=8, guidance=0.0)


def voice(writer=DIFFUSION, **options) -> DiTAR:
    front_end = LogMel(sample_rate=RATE, mels=20, size=256, hop=HOP, normalise="global")
    front_end.frames.fill_(1)
    front_end.mean.fill_(-5)
    front_end.std.fill_(3)
    return DiTAR(
        **{"dim": 32, "depth": 2, "heads": 2, "longest": 12} | options,
        tokenizer=spoken_text().extended("ab"),
        front_end=front_end,
        reader=partial(PatchReader, mixer=ALL, depth=1, heads=2),
        writer=writer,
    )


def varied(model: DiTAR) -> DiTAR:
    """Returns a model in which nothing stands at its first value: gates of blocks begin at 0."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def test_patches_are_cut_and_the_last_step_fills_up_the_last_one() -> None:
    features = torch.arange(10.0).reshape(2, 5, 1)
    patches, counts = cut_patches(features, torch.tensor([5, 3]), 2)
    assert counts.tolist() == [3, 2]
    assert patches[..., 0].tolist() == [
        [[0, 1], [2, 3], [4, 4]],
        [[5, 6], [7, 7], [7, 7]],
    ]


def test_what_is_said_of_a_patch_follows_from_those_before_and_the_text_alone() -> None:
    torch.manual_seed(0)
    model = varied(voice())
    tokens, lengths = framed(
        model.tokenizer, torch.tensor([[3, 4, 3], [4, 3, 0]]), torch.tensor([3, 2])
    )
    patches = torch.randn(2, 4, 4, 20)
    counts = torch.tensor([4, 2])
    vectors, ends = model(tokens, lengths, patches, counts)
    assert vectors.shape == (2, 5, 32)
    later = patches.clone()
    later[:, 2] += 1
    changed, _ = model(tokens, lengths, later, counts)
    torch.testing.assert_close(changed[:, :3], vectors[:, :3])
    assert (changed[0, 3:] - vectors[0, 3:]).abs().amax(1).min() > 1e-3
    alone, end = model(tokens[1:, :4], lengths[1:], patches[1:, :2], counts[1:])
    torch.testing.assert_close(alone[0], vectors[1, :3], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(end[0], ends[1, :3], rtol=1e-5, atol=1e-5)
    # Step by step with a cache it says the same.
    cache = model.decoder.init_cache(2, 20)
    found, _ = model.decoder(model.embedding(tokens), Layout(lengths=lengths), cache=cache)
    said = [found[torch.arange(2), lengths - 1]]
    for place in range(2):
        found, _ = model.decoder(model.reader(patches[:, place])[:, None], None, cache=cache)
        said.append(found[:, 0])
    torch.testing.assert_close(torch.stack(said, 1), vectors[:, :3], rtol=1e-5, atol=1e-5)


def test_a_text_alone_and_in_a_batch_is_spoken_alike_and_seeds_differ() -> None:
    torch.manual_seed(0)
    model = varied(voice(longest=5))
    tokens, lengths = torch.tensor([[3, 4, 3], [4, 0, 0]]), torch.tensor([3, 1])
    both = model.speak(tokens, lengths)
    assert both.durations is None
    assert both.features.shape[2] == 20
    alone = model.speak(tokens[1:, :1], lengths[1:])
    steps = int(alone.lengths[0])
    assert both.lengths[1] == steps
    torch.testing.assert_close(both.features[1, :steps], alone.features[0], rtol=1e-4, atol=1e-4)
    assert not both.features[1, steps:].any()
    model.seed = 1
    assert not torch.allclose(
        model.speak(tokens[1:, :1], lengths[1:]).features[0, :4], alone.features[0, :4]
    )


def test_temperature_is_when_noise_comes_in() -> None:
    torch.manual_seed(0)
    told, history = torch.randn(1, 16).expand(64, -1), torch.randn(1, 4, 3).expand(64, -1, -1)
    noise = torch.randn(64, 4, 3)
    spread = []
    for temperature in (0.0, 0.3, 1.0):
        torch.manual_seed(1)
        writer = DIFFUSION(3, 16, 4, temperature=temperature)
        spread.append(writer.draw(told, history, noise).std(0).mean().item())
    assert spread[0] == 0
    assert 0.05 < spread[1] < 0.7 * spread[2]


def test_drawing_gives_what_was_learned_where_the_velocity_is_known() -> None:
    """Of patches that are all one number, at any number of steps and any guidance."""

    class Known(LocalDiffusion):
        def forward(self, x: Tensor, time: Tensor, told: Tensor, history: Tensor) -> Tensor:
            signal = torch.cos(torch.pi / 2 * time)[:, None, None]
            share = torch.sin(torch.pi / 2 * time)[:, None, None]
            return signal * (x - signal * 0.7) / share.clamp_min(1e-6) - share * 0.7

    for steps, guidance, temperature in (
        (1, 0.0, 1.0),
        (7, 2.0, 1.0),
        (4, 0.0, 0.5),
        (4, 0.0, 0.0),
    ):
        writer = Known(
            3, 16, 4, mixer=ALL, steps=steps, guidance=guidance, temperature=temperature, heads=2
        )
        made = writer.draw(torch.zeros(2, 16), torch.zeros(2, 4, 3), torch.randn(2, 4, 3))
        torch.testing.assert_close(made, torch.full_like(made, 0.7), rtol=1e-4, atol=1e-4)


def test_wrong_use_says_so(tmp_path: Path) -> None:
    model = varied(voice(longest=2))
    tokens, lengths = torch.tensor([[3]]), torch.tensor([1])
    with pytest.raises(UserError, match="leave speed, pitch and energy"):
        model.speak(tokens, lengths, manner=Manner(speed=2))
    with pytest.raises(UserError, match="align with FastSpeech"):
        model.align(torch.zeros(1, 800), torch.tensor([800]), tokens, lengths)
    with pytest.raises(UserError, match="both lie between 0 and 1"):
        DIFFUSION(3, 16, 4, temperature=1.5)
    with pytest.raises(UserError, match="they begin at 1, 0 and 1"):
        voice(patch=0)
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path).eval()
    assert torch.equal(again.speak(tokens, lengths).features, model.speak(tokens, lengths).features)


class Mean(PatchWriter):
    """The patch that is nearest to all: what a regression learns."""

    def __init__(self, bands: int, dim: int, size: int) -> None:
        super().__init__(bands, dim, size)
        self.network = nn.Sequential(nn.Linear(dim, 64), nn.SiLU(), nn.Linear(64, size * bands))

    def loss(self, told: Tensor, history: Tensor, patches: Tensor) -> Tensor:
        return (self.network(told) - patches.flatten(1)).square().mean()

    def draw(self, told: Tensor, history: Tensor, noise: Tensor) -> Tensor:
        return self.network(told).unflatten(1, noise.shape[1:])


PITCHES = (120.0, 400.0)


def songs(model: DiTAR, count: int, generator: torch.Generator) -> SpeechBatch:
    """Returns two letters, four steps each; every recording has one of two pitches, by chance."""
    chosen = torch.randint(2, (count,), generator=generator).tolist()
    sounds = [harmonic(PITCHES[pitch], 8 * HOP / RATE) for pitch in chosen]
    letters = [model.tokenizer.numbers[letter] for letter in "ab"]
    texts = [torch.tensor(letters) for _ in chosen]
    return SpeechBatch(*padded(sounds), *padded(texts))


def nearest(model: DiTAR, seed: int, steps: int = 200) -> tuple[float, float, float]:
    """Returns how far first patches are from the nearest real one, shares of one pitch, and of whole songs."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(steps):
        loss = model.loss(songs(model, 12, generator))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    real = [model.front_end(harmonic(pitch, 8 * HOP / RATE)[None]).inputs[0] for pitch in PITCHES]
    apart, first, whole, count = 0.0, 0, 0, 20
    tokens = songs(model, 1, generator).targets
    for number in range(count):
        model.seed = number
        made = model.speak(tokens, torch.tensor([2]))
        steps_made = min(8, int(made.lengths[0]))
        distances = torch.stack(
            [(made.features[0, :steps_made] - one[:steps_made]).abs().mean(1) for one in real]
        )
        apart += distances[:, :4].mean(1).min().item() / count
        sung = distances.argmin(0)
        first += int(sung[0] == 0)
        whole += int(steps_made == made.lengths[0] == 8 and bool((sung == sung[0]).all()))
    return apart, first / count, whole / count


@pytest.mark.learns
def test_a_drawn_patch_is_one_of_those_that_there_are_and_not_their_mean(
    seed: int, measured
) -> None:
    torch.manual_seed(seed)
    apart, first, whole = nearest(voice(), seed)
    torch.manual_seed(seed)
    plain, _, _ = nearest(voice(Mean), seed, steps=120)
    measured("distance to a real step beside that of a regression", apart / plain, below=0.66)
    measured("songs of one pitch and the right length", whole, above=0.55)
    measured("both pitches are sung, the rarer share", min(first, 1 - first), above=0.05)
