"""FactFormer learns the step of a flow."""

from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.mixers import FactorizedAttention, FourierMixer, TokenMixer
from headway.core.positions import Rotary
from headway.core.weights import from_pretrained, save_pretrained
from headway.timeseries.models import FactFormer
from headway.timeseries.simulation.flows import advection_diffusion, random_fields

SIZES = {"dim": 16, "depth": 2, "heads": 2}


class Alone(TokenMixer):
    """Every place by itself."""

    supports: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.projection = nn.Linear(dim, dim)

    def mix(self, x: Tensor, layout: object, **others: object) -> Tensor:
        return self.projection(x)


def flows(number: int, seed: int) -> Tensor:
    """Fields and what they are a moment later, (2, B, 1, 12, 12)."""
    start = random_fields(number, (12, 12), smoothness=2.5, seed=seed)
    after = advection_diffusion(start, torch.tensor([0.1]), velocity=(1.0, 0.5), diffusivity=0.005)
    return torch.stack([start[:, None], after]).float()


def error(mixer) -> float:
    torch.manual_seed(0)
    model = FactFormer(**SIZES, mixer=mixer)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(150):
        x, y = flows(16, step)
        loss = (model(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, y = flows(64, 1000)
    with torch.no_grad():
        # The field that stays as it is has an error of 1.
        return float((model(x) - y).square().mean() / (x - y).square().mean())


@pytest.mark.learns
def test_it_learns_a_step_that_single_places_cannot() -> None:
    assert error(partial(FactorizedAttention, position=Rotary)) < 0.55
    assert error(Alone) > 0.7


def test_it_goes_on_in_time_with_what_it_made() -> None:
    torch.manual_seed(0)
    model = FactFormer(channels=4, outputs=2, **SIZES).eval()
    frames = torch.randn(2, 3, 2, 4, 6)
    found = model.rollout(frames, 2)
    first = model(frames[:, 1:].flatten(1, 2))
    torch.testing.assert_close(found[:, 0], first)
    torch.testing.assert_close(found[:, 1], model(torch.cat([frames[:, 2], first], dim=1)))
    with pytest.raises(
        UserError, match="not a number of whole frames of 2 fields up to the 1 given"
    ):
        model.rollout(frames[:, :1], 1)
    with pytest.raises(UserError, match="ask for at least 1 frame"):
        model.rollout(frames, 0)


@pytest.mark.parametrize(
    ("mixer", "grid"),
    [(FourierMixer, (4, 6)), (partial(FactorizedAttention, axes=3), (2, 3, 4))],
    ids=["fourier", "three axes"],
)
def test_another_mixer_comes_back_from_the_folder(mixer, grid, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = FactFormer(**SIZES, mixer=mixer).eval()
    again = from_pretrained(save_pretrained(model, tmp_path)).eval()
    x = torch.randn(1, 1, *grid)
    torch.testing.assert_close(again(x), model(x))
    model(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_nonsense_is_refused_with_the_reason() -> None:
    with pytest.raises(UserError, match="outputs 2 must lie between 1 and channels 1"):
        FactFormer(outputs=2)
    with pytest.raises(UserError, match=r"reads fields \(B, 1, \*grid\), got \(2, 3, 4, 4\)"):
        FactFormer(**SIZES)(torch.zeros(2, 3, 4, 4))
