"""SAMformer against its equations in numpy, and its optimiser."""

from pathlib import Path

import numpy as np
import torch

from headway.core.mixers import SelfAttention
from headway.core.weights import from_pretrained, save_pretrained
from headway.timeseries.models import SAMformer


def small(**options) -> SAMformer:
    torch.manual_seed(0)
    return SAMformer(**{"context_length": 12, "horizon": 5, **options})


def test_forecasts_are_those_of_the_equations() -> None:
    model = small().double()
    x = 3 + 2 * torch.randn(2, 12, 4, dtype=torch.float64)
    weights = {name: p.detach().numpy() for name, p in model.named_parameters()}
    for item, window in enumerate(x.numpy()):
        mean, scale = window.mean(0), np.sqrt(window.var(0) + 1e-5)
        tokens = ((window - mean) / scale).T
        query, key, value = (
            tokens @ weights[f"mixer.{n}.weight"].T + weights[f"mixer.{n}.bias"] for n in "qkv"
        )
        scores = query @ key.T / np.sqrt(16)
        attention = np.exp(scores - scores.max(-1, keepdims=True))
        attention /= attention.sum(-1, keepdims=True)
        hidden = tokens + attention @ value
        forecast = (hidden @ weights["head.weight"].T + weights["head.bias"]).T * scale + mean
        np.testing.assert_allclose(model(x)[item].detach().numpy(), forecast, atol=1e-10)


def test_it_has_the_published_number_of_parameters_but_for_the_affine_ones() -> None:
    # 328,334 for seven series, two of each are those of RevIN.
    assert sum(p.numel() for p in SAMformer().parameters()) == 328_334 - 14


def test_series_inform_each_other_and_permute() -> None:
    model = small().eval()
    x = torch.randn(2, 12, 4)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(model(x[..., order]), model(x)[..., order])
    other = x.clone()
    other[..., 3] = torch.randn(2, 12)
    assert (model(other)[..., 0] - model(x)[..., 0]).abs().max() > 1e-5


def test_a_series_without_values_changes_no_other_one() -> None:
    model = small().eval()
    x, mask = torch.randn(2, 12, 4), torch.ones(2, 12, 4, dtype=torch.bool)
    mask[..., 2] = False
    kept = [0, 1, 3]
    found = model(x.masked_fill(~mask, torch.nan), mask=mask)
    torch.testing.assert_close(found[..., kept], model(x[..., kept]))


def test_any_mixer_and_another_horizon(tmp_path: Path) -> None:
    model = small(mixer=SelfAttention, heads=2).eval()
    again = from_pretrained(save_pretrained(model, tmp_path)).eval()
    x = torch.randn(1, 12, 3)
    torch.testing.assert_close(again(x), model(x))
    longer = from_pretrained(tmp_path, horizon=7)
    assert longer(x).shape == (1, 7, 3)
