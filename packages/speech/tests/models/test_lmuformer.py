"""LMUFormer: it remembers what convolutions have long forgotten, and answers step by step."""

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.mixers import ConvolutionMixer, LegendreMemory
from headway.speech.front_ends import FixedFbank, Waveform
from headway.speech.models import LMUFormer

MEMORY = partial(LegendreMemory, order=12, window=60)
# As many steps as a memory writes at once, and the plain part that it replaces.
NEIGHBOURS = partial(ConvolutionMixer, axes=1)


def build(mixer=MEMORY, seed: int = 0) -> LMUFormer:
    torch.manual_seed(seed)
    front_end = FixedFbank(sample_rate=8000, mels=12, steps=60)
    return LMUFormer(
        classes=("same", "other"), front_end=front_end, dim=16, heads=2, layers=2, mixer=mixer
    )


def test_later_steps_do_not_change_an_answer() -> None:
    model = build().eval()
    x = torch.randn(2, 60, 12)
    early, late = x.clone(), x.clone()
    late[:, 40:] = torch.randn(2, 20, 12)
    before = 40 - model.ahead
    found, other = model.answers(early), model.answers(late)
    torch.testing.assert_close(found[:, :before], other[:, :before], rtol=1e-4, atol=1e-5)
    assert (found[:, before + 1] - other[:, before + 1]).abs().max() > 1e-6
    torch.testing.assert_close(found[:, -1], model(early))


def test_an_item_does_not_depend_on_its_batch() -> None:
    model = build().eval()
    x = torch.randn(2, 60, 12)
    x[0, 35:] = torch.nan
    found = model(x, torch.tensor([35, 60]))
    torch.testing.assert_close(found[0], model(x[:1, :35])[0])
    torch.testing.assert_close(found[1], model(x[1:])[0])


def test_wrong_use_says_so() -> None:
    with pytest.raises(UserError, match="hears bands"):
        LMUFormer(front_end=Waveform())
    with pytest.raises(UserError, match=r"must be \(B, T, 12\)"):
        build()(torch.zeros(1, 60, 11))
    with pytest.raises(UserError, match="layers is 0"):
        LMUFormer(layers=0)


def right(mixer, seed: int = 0) -> float:
    """Returns which share is told right after training."""
    model = build(mixer, seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(80):
        x, label = unlike(generator, 32)
        loss = F.cross_entropy(model(x), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, label = unlike(torch.Generator().manual_seed(9), 300)
    with torch.no_grad():
        return (model.eval()(x).argmax(dim=1) == label).float().mean().item()


def unlike(generator: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
    """A high and a low sound in noise, 30 steps apart; asked is which comes first."""
    label = torch.randint(2, (count,), generator=generator)
    x = 0.3 * torch.randn(count, 60, 12, generator=generator)
    rows = torch.arange(count)
    for start, kind in ((8, label), (42, 1 - label)):
        for step in range(start, start + 6):
            x[rows, step, 3 + 5 * kind] += 2
    return x, label


def test_it_knows_which_sound_came_first() -> None:
    """Neither sound is at an edge, so that without a memory both orders are the same steps."""
    assert right(MEMORY) > 0.95
    assert right(NEIGHBOURS) < 0.65
