"""TERA: what is altered, what is mended, and what the encoder is worth for it."""

from functools import partial
from pathlib import Path

import pytest
import torch
from spoken import harmonic
from torch import Tensor

from headway.core.blocks import MacaronBlock
from headway.core.errors import UserError
from headway.core.mixers import GatedConvolutionMixer
from headway.core.weights import save_pretrained
from headway.speech.batch import SpeechBatch
from headway.speech.front_ends import KaldiFbank
from headway.speech.front_ends.alterations import (
    Alteration,
    ChannelAlteration,
    MagnitudeAlteration,
    TimeAlteration,
)
from headway.speech.layers import ConvolutionSubsampling, WaveformStem
from headway.speech.models import CTC, TERA, Conformer, pretrained_encoder

LENGTHS = torch.tensor([200, 90])


def features(seed: int = 0) -> Tensor:
    x = torch.randn(2, 200, 20, generator=torch.Generator().manual_seed(seed))
    x[1, 90:] = 0
    return x


def share(alteration: Alteration, times: int = 300) -> Tensor:
    """Of the features of each item, how many were changed."""
    torch.manual_seed(0)
    changed = torch.zeros(2)
    for seed in range(times):
        x = features(seed)
        out = alteration(x, LENGTHS)
        assert torch.equal(out[1, 90:], x[1, 90:]) or isinstance(alteration, MagnitudeAlteration)
        changed += torch.stack(
            [(out[i, :n] != x[i, :n]).float().mean() for i, n in enumerate(LENGTHS.tolist())]
        )
    return changed / times


def test_as_much_is_altered_as_asked_and_within_each_length() -> None:
    # Of 15 % a tenth stays as it was, and stretches overlap.
    assert share(TimeAlteration()).tolist() == pytest.approx([0.13, 0.13], abs=0.03)
    # The width is drawn from 0 to 4 of 20 bands.
    assert share(ChannelAlteration()).tolist() == pytest.approx([0.1, 0.1], abs=0.015)
    assert share(MagnitudeAlteration()).tolist() == pytest.approx([0.15, 0.15], abs=0.06)
    out = ChannelAlteration(widest=1.0)(features(), LENGTHS)
    hidden = (out[0] == 0).all(dim=0)
    assert torch.equal((out[0] == 0), hidden.expand(200, 20))
    for wrong in (
        partial(TimeAlteration, share=2.0),
        partial(ChannelAlteration, widest=-1.0),
        partial(MagnitudeAlteration, deviation=-1.0),
    ):
        with pytest.raises(UserError):
            wrong()


def encoder(dim: int = 16, features: int = 20) -> Conformer:
    return Conformer(
        dim=dim,
        depth=1,
        heads=2,
        stem=partial(ConvolutionSubsampling, features=features, channels=4),
        block=partial(MacaronBlock, convolution=partial(GatedConvolutionMixer, window=5)),
    )


def plain(mels: int = 20) -> KaldiFbank:
    return KaldiFbank(sample_rate=8000, mels=mels, normalise="utterance")


def test_each_token_answers_for_its_steps_and_padding_counts_nothing() -> None:
    torch.manual_seed(0)
    model = TERA(encoder=encoder(), front_end=plain(), alterations=[]).eval()
    x = features()[:, :37]
    lengths = torch.tensor([37, 22])
    texts = (torch.zeros(2, 0).long(), torch.zeros(2).long())
    noisy = x.clone()
    noisy[1, 22:] = torch.nan
    loss = model.loss(SpeechBatch(noisy, lengths, *texts))["loss"]
    total, count = torch.zeros(()), 0
    for item, length in enumerate(lengths.tolist()):
        told, [tokens], *_ = model(x[item : item + 1, :length])
        for token in range(int(tokens)):
            wanted = torch.zeros(4, 20)
            real = x[item, 4 * token : min(4 * token + 4, length)]
            wanted[: len(real)] = real
            total = total + (told[0, token] - wanted.flatten()).abs().sum()
            count += 80
    torch.testing.assert_close(loss, total / count)
    with pytest.raises(UserError, match="this encoder hears samples"):
        TERA(encoder=Conformer(dim=16, depth=1, heads=2, stem=WaveformStem))


def test_its_encoder_starts_a_recogniser(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = TERA(encoder=encoder(), front_end=plain())
    folder = save_pretrained(model, tmp_path / "tera")
    found = CTC(encoder=pretrained_encoder(str(folder)), front_end=plain())
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(found.encoder.state_dict()[name], value), name
    again = save_pretrained(found, tmp_path / "ctc")
    assert isinstance(pretrained_encoder(str(again)), Conformer)


TONES, STEPS = (110.0, 150.0, 210.0, 300.0), 6


def melodies(count: int, seed: int, *, drowned: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Returns features of scales, up or down and around, their lengths, and the tone of each token.

    Args:
        count: Melodies.
        seed: Of the draws.
        drowned: Whether noise stands in the place of the fourth tone, which the others tell.
    """
    generator = torch.Generator().manual_seed(seed)
    sounds, tones = [], []
    for _ in range(count):
        start, way = (int(torch.randint(4, (), generator=generator)) for _ in range(2))
        chosen = [(start + (1 if way % 2 else -1) * place) % 4 for place in range(6)]
        parts = [harmonic(TONES[tone], 0.24) for tone in chosen]
        if drowned:
            parts[3] = torch.zeros_like(parts[3])
        sound = torch.cat(parts)
        sounds.append(sound + 0.05 * torch.randn(len(sound), generator=generator))
        tones.append(torch.tensor(chosen).repeat_interleave(STEPS))
    inputs, lengths = plain()(torch.stack(sounds))
    return inputs, lengths, torch.stack(tones)


def probe(model: TERA, seed: int, draws: int = 10) -> float:
    """Accuracy of a linear reader of the frozen encoder, taught by eight melodies in which a tone is drowned."""
    model.eval()
    middle = slice(3 * STEPS + 1, 4 * STEPS - 1)

    @torch.no_grad()
    def read(count: int, start: int) -> tuple[Tensor, Tensor]:
        inputs, lengths, tones = melodies(count, start, drowned=True)
        encoded = model.encoder(inputs, lengths).encoded[:, middle]
        return encoded.flatten(0, 1), tones[:, middle].flatten()

    test, truth = read(100, 9000 + seed)
    right = []
    for draw in range(draws):
        x, y = read(8, 5000 + 100 * seed + draw)
        mean, std = x.mean(0), x.std(0) + 1e-5
        x = (x - mean) / std
        gram = x.T @ x + 3.0 * torch.eye(x.shape[1])
        weights = torch.linalg.solve(gram, x.T @ torch.nn.functional.one_hot(y, 4).float())
        right.append(((((test - mean) / std) @ weights).argmax(1) == truth).float().mean())
    return float(torch.stack(right).mean())


WIDE: list[Alteration] = [TimeAlteration(share=0.3, width=4 * STEPS)]


def taught(alterations: list[Alteration], seed: int, steps: int = 200) -> TERA:
    torch.manual_seed(seed)
    model = TERA(encoder=encoder(dim=32), front_end=plain(), alterations=alterations)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    texts = (torch.zeros(8, 0).long(), torch.zeros(8).long())
    for step in range(steps):
        inputs, lengths, _ = melodies(8, 10_000 * (seed + 1) + step)
        optimiser.zero_grad()
        model.train().loss(SpeechBatch(inputs, lengths, *texts))["loss"].backward()
        optimiser.step()
    return model


@pytest.mark.learns
def test_what_it_mended_tells_more_than_a_copy(seed: int, measured) -> None:
    """Without alterations in the place of those of the paper the encoder copies, and hears less far."""
    fresh = probe(taught([], seed, steps=0), seed)
    copied, mended = (probe(taught(alterations, seed), seed) for alterations in ([], WIDE))
    measured("mended over fresh", mended - fresh, above=0.08)
    measured("mended over copied", mended - copied, above=0.0)
