"""Reversible instance normalisation, plain and with a learned gain and bias, as a part of the models."""

from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn
from wide_tables import panel

from headway.core.cli.main import main
from headway.core.errors import UserError
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained, save_pretrained
from headway.timeseries.layers import AffineWindowNorm, WindowNorm
from headway.timeseries.models import ACEFormer, ITransformer, PatchTST, SAMformer

Affine = partial(AffineWindowNorm, variates=3)


def moved(norm: AffineWindowNorm) -> AffineWindowNorm:
    torch.manual_seed(0)
    with torch.no_grad():
        norm.gain.copy_(torch.tensor([0.5, -2.0, 3.0])[: len(norm.gain)])
        norm.bias.copy_(torch.tensor([1.0, 0.3, -4.0])[: len(norm.bias)])
    return norm


@pytest.mark.parametrize("centre", ["mean", "last"])
def test_gain_and_bias_are_learned_and_taken_back_exactly(centre) -> None:
    norm, plain = moved(Affine(centre)).double(), WindowNorm(centre)
    x = 5 + 3 * torch.randn(2, 9, 3, dtype=torch.float64)
    found, statistics = norm(x)
    torch.testing.assert_close(found, plain(x)[0] * norm.gain + norm.bias)
    torch.testing.assert_close(norm.inverse(found, statistics), x, atol=1e-12, rtol=1e-12)
    # One pair for all series.
    shared = moved(AffineWindowNorm(centre)).double()
    torch.testing.assert_close(shared(x)[0], 0.5 * plain(x)[0] + 1)
    with pytest.raises(UserError, match="built for 3 series, got 2"):
        norm(x[..., :2])
    with pytest.raises(UserError, match="variates must be at least 1"):
        AffineWindowNorm(variates=0)


def test_missing_values_change_nothing() -> None:
    norm = moved(Affine())
    x, mask = torch.randn(1, 9, 3), torch.ones(1, 9, 3, dtype=torch.bool)
    mask[:, 6:] = False
    found, statistics = norm(x.masked_fill(~mask, torch.nan), mask)
    short, expected = norm(x[:, :6])
    torch.testing.assert_close(found[:, :6], short)
    assert (found[:, 6:] == 0).all()
    torch.testing.assert_close(statistics.scale, expected.scale)
    found.sum().backward()
    assert norm.bias.grad.tolist() == [6.0, 6.0, 6.0]


SMALL = {"context_length": 12, "horizon": 4}
MODELS = {
    "ITransformer": partial(ITransformer, **SMALL, dim=8, heads=2, depth=1),
    "SAMformer": partial(SAMformer, **SMALL),
    "PatchTST": partial(PatchTST, **SMALL, dim=8, heads=2, depth=1, patch=4, stride=2),
    "ACEFormer": partial(ACEFormer, **SMALL, variates=3, dim=16, depth=1, envelopes=None),
}


@pytest.mark.parametrize("name", MODELS)
def test_any_model_takes_it_as_a_part(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = MODELS[name](normalization=Affine).eval()
    plain = MODELS[name]().eval()
    plain.load_state_dict(
        {key: value for key, value in model.state_dict().items() if "normalization" not in key}
    )
    x = torch.randn(2, 12, 3)
    torch.testing.assert_close(model(x), plain(x))  # it begins as the plain one
    moved(model.normalization)
    assert (model(x) - plain(x)).abs().max() > 1e-3
    model(x).square().mean().backward()
    assert all((p.grad != 0).all() for p in model.normalization.parameters())
    again = from_pretrained(save_pretrained(model, tmp_path)).eval()
    torch.testing.assert_close(again(x), model(x))


def test_from_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path / "runs"))
    part = {
        "class_path": "headway.timeseries.layers.AffineWindowNorm",
        "init_args": {"variates": 3},
    }
    sizes = {"context_length": 12, "horizon": 4, "normalization": part}
    config = tmp_path / "affine.yaml"
    config.write_text(yaml.safe_dump({"model": {"init_args": {"backbone": {"init_args": sizes}}}}))
    panel(120, "abc").to_csv(tmp_path / "f.csv", index=False)
    data = ["--data.path", str(tmp_path / "f.csv"), "--data.borders", "0.6 0.2 0.2"]
    words = [*data, "--trainer.max_steps", "2", "--trainer.accelerator", "cpu"]
    assert main(["fit", "-c", "timeseries/samformer_ett", "-c", str(config), *words]) == 0
    model = from_pretrained(tmp_path / "runs" / "affine" / "1")
    assert isinstance(model.normalization, AffineWindowNorm)
    assert (model.normalization.gain != 1).all()


class Published(nn.Module):
    """The network of SAMformer's authors, from its equations and the names in its code."""

    def __init__(self) -> None:
        super().__init__()
        self.revin = nn.Module()
        self.revin.affine_weight = nn.Parameter(torch.rand(3) + 0.5)
        self.revin.affine_bias = nn.Parameter(torch.randn(3))
        self.compute_keys, self.compute_queries = nn.Linear(12, 5), nn.Linear(12, 5)
        self.compute_values, self.linear_forecaster = nn.Linear(12, 12), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        mean, scale = x.mean(1, keepdim=True), (x.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
        gain, bias = self.revin.affine_weight, self.revin.affine_bias
        rows = ((x - mean) / scale * gain + bias).transpose(1, 2)
        keys, queries = self.compute_keys(rows), self.compute_queries(rows)
        weights = (queries @ keys.transpose(1, 2) / 5**0.5).softmax(-1)
        out = self.linear_forecaster(rows + weights @ self.compute_values(rows)).transpose(1, 2)
        return (out - bias) / (gain + 1e-10) * scale + mean


def test_weights_of_samformers_authors_are_read_gain_and_bias_included(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = Published()
    torch.save(theirs.state_dict(), tmp_path / "samformer.pt")
    check_round_trip(tmp_path / "samformer.pt", tmp_path / "back")
    ours = from_pretrained(tmp_path / "samformer.pt")
    assert isinstance(ours, SAMformer)
    x = 3 + 2 * torch.randn(4, 12, 3)
    mine, other = ours(x), theirs(x)
    torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)
    mine.square().mean().backward()
    other.square().mean().backward()
    for name, theirs_name in (("gain", "affine_weight"), ("bias", "affine_bias")):
        expected = getattr(theirs.revin, theirs_name).grad
        torch.testing.assert_close(
            getattr(ours.normalization, name).grad, expected, atol=1e-5, rtol=1e-4
        )
    torch.testing.assert_close(ours.head.weight.grad, theirs.linear_forecaster.weight.grad)
