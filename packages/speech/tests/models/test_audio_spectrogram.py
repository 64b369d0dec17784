"""The AST against transformers with copied weights, and what its places are for."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

from headway.core.errors import UserError
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained
from headway.speech.front_ends import FixedFbank
from headway.speech.models import AST


def tiny(**options) -> ASTForAudioClassification:
    torch.manual_seed(0)
    names = ["dog", "rain", "siren"]
    config = ASTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        num_mel_bins=32,
        max_length=60,
        id2label=dict(enumerate(names)),
        label2id={name: place for place, name in enumerate(names)},
        **options,
    )
    model = ASTForAudioClassification(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Weights of 0.02 leave attention all but uniform, and tokens and places at zero hide errors.
            parameter.mul_(8 if ".weight" in name and parameter.ndim == 2 else 1)
            parameter.add_(0.2 * torch.randn_like(parameter) * (parameter.ndim != 2))
    return model


def saved(model: ASTForAudioClassification, folder: Path, **notes) -> Path:
    model.save_pretrained(folder)
    extractor = ASTFeatureExtractor(num_mel_bins=32, max_length=60, **notes)
    extractor.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("options", [{}, {"frequency_stride": 5, "time_stride": 8}])
def test_logits_and_gradients_are_those_of_transformers(options: dict, tmp_path: Path) -> None:
    theirs = tiny(**options)
    folder = saved(theirs, tmp_path / "hf")
    ours = from_pretrained(folder)
    check_round_trip(folder, tmp_path / "back")
    assert isinstance(ours, AST)
    assert ours.classes == ("dog", "rain", "siren")
    ours, theirs = ours.double().eval(), theirs.double()
    inputs = torch.randn(3, 60, 32, dtype=torch.float64)
    mine, yours = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
    found, wanted = ours(mine), theirs(yours).logits
    torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-9)
    for logits in (found, wanted):
        F.cross_entropy(logits, torch.tensor([0, 1, 2])).backward()
    assert mine.grad is not None
    torch.testing.assert_close(mine.grad, yours.grad, rtol=1e-6, atol=1e-9)
    weight = theirs.audio_spectrogram_transformer.embeddings.position_embeddings
    assert ours.position is not None
    torch.testing.assert_close(ours.position.table.grad, weight.grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("seconds", [0.1, 0.4, 1.3])
@pytest.mark.parametrize("notes", [{}, {"mean": -5.0, "std": 3.0}, {"do_normalize": False}])
def test_features_are_those_of_transformers(seconds: float, notes: dict, tmp_path: Path) -> None:
    """Shorter, and longer than what is heard."""
    sound = np.random.default_rng(0).standard_normal(int(16000 * seconds)).astype(np.float32) / 9
    extractor = ASTFeatureExtractor(num_mel_bins=32, max_length=60, **notes)
    wanted = extractor(sound, sampling_rate=16000, return_tensors="pt")["input_values"]
    front_end = from_pretrained(saved(tiny(), tmp_path / "hf", **notes)).front_end
    found, lengths = front_end(torch.from_numpy(sound)[None])
    assert lengths.tolist() == [60]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=2e-5)


def test_other_classes_are_written_back(tmp_path: Path) -> None:
    from headway.core.weights import save_published

    model = from_pretrained(saved(tiny(), tmp_path / "hf"))
    model.set_classes(("high", "low"))
    save_published(model, tmp_path / "new", like=tmp_path / "hf")
    again = ASTForAudioClassification.from_pretrained(tmp_path / "new").eval()
    assert again.config.id2label == {0: "high", 1: "low"}
    inputs = torch.randn(2, 60, 32)
    torch.testing.assert_close(model.eval()(inputs), again(inputs).logits, rtol=1e-4, atol=1e-5)


def small(**options) -> AST:
    front_end = FixedFbank(sample_rate=8000, mels=20, steps=84, mean=None, std=None)
    return AST(
        classes=("up", "down"), front_end=front_end, dim=24, depth=2, heads=2, stride=8, **options
    )


def test_a_recording_does_not_depend_on_its_batch() -> None:
    torch.manual_seed(0)
    model = small().eval()
    sounds = torch.randn(2, 6000)
    model.front_end.measure([sounds[0]])
    alone = model.hear(sounds[:1, :2000])
    sounds[0, 2000:] = torch.nan
    both = model.hear(sounds, torch.tensor([2000, 6000]))
    torch.testing.assert_close(both[0], alone[0])


def test_places_are_interpolated_for_longer_spectrograms() -> None:
    torch.manual_seed(0)
    model = small().eval()
    assert model(torch.randn(2, 84, 20)).shape == model(torch.randn(2, 120, 20)).shape == (2, 2)


def test_wrong_use_says_so() -> None:
    with pytest.raises(UserError, match="give mean and std, or neither"):
        FixedFbank(mean=None)
    with pytest.raises(UserError, match=r"must be \(B, T, 20\)"):
        small()(torch.zeros(1, 84, 30))
    with pytest.raises(UserError, match="measure"):
        small().hear(torch.zeros(1, 4000))
    with pytest.raises(UserError, match="shorter than one window"):
        FixedFbank()(torch.zeros(1, 100))
    with pytest.raises(UserError, match="name each once"):
        AST(classes=("a", "a"), front_end=FixedFbank(mels=20, steps=20), dim=8, depth=1, heads=1)


def tones(generator: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Two tones in noise, the higher one first or last.

    They lie alike between the patches, each between two silences longer than a patch: no patch sees both.
    """
    label = torch.randint(2, (count,), generator=generator)
    low = 400 + 200 * torch.rand(count, generator=generator)
    high = 1500 + 500 * torch.rand(count, generator=generator)
    time = torch.arange(960) / 8000
    sound = 0.1 * torch.randn(count, 84 * 80 + 120, generator=generator)
    for start, pitch in (
        (20, torch.where(label == 0, low, high)),
        (52, torch.where(label == 0, high, low)),
    ):
        sound[:, start * 80 : start * 80 + 960] += torch.sin(2 * torch.pi * pitch[:, None] * time)
    return sound, label


def right(model: AST, steps: int = 60) -> float:
    """Returns which share is told right after training."""
    if model.position is not None:
        with torch.no_grad():  # places as large as what stands there are learned about sooner
            model.position.table.mul_(25)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    model.front_end.measure(tones(generator, 16)[0])
    for _ in range(steps):
        sounds, label = tones(generator, 32)
        loss = F.cross_entropy(model(*model.front_end(sounds)), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    sounds, label = tones(torch.Generator().manual_seed(9), 300)
    with torch.no_grad():
        return (model.eval().hear(sounds).argmax(dim=1) == label).float().mean().item()


def test_the_order_of_sounds_is_told_by_places_alone() -> None:
    """Over seeds 0 to 4 as well."""
    torch.manual_seed(0)
    assert right(small()) > 0.95
    assert right(small(position=None)) < 0.65


def test_it_goes_through_a_folder(tmp_path: Path) -> None:
    from headway.core.weights import save_pretrained

    model = small().eval()
    model.front_end.measure([torch.randn(4000)])
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path).eval()
    sounds = torch.randn(2, 4000)
    assert torch.equal(model.hear(sounds), again.hear(sounds))
    assert json.loads((tmp_path / "config.json").read_text())["init_args"]["classes"] == [
        "up",
        "down",
    ]
