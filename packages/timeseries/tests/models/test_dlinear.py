"""DLinear and NLinear against neuralforecast's, and what splits trend from season."""

from pathlib import Path

import pytest
import torch
from peers import peer

from headway.core.errors import UserError
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained, save_pretrained
from headway.timeseries.layers import SeriesDecomposition
from headway.timeseries.models import DLinear, NLinear


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [("DLinear", DLinear, {"moving_avg_window": 7}), ("NLinear", NLinear, {})],
)
def test_forecasts_and_gradients_equal_the_peers(
    name: str, kind: type, options: dict, tmp_path: Path
) -> None:
    theirs = peer(name, h=5, input_size=40, **options).eval()
    theirs.save(str(tmp_path / f"{name}_0.ckpt"))
    check_round_trip(tmp_path / f"{name}_0.ckpt", tmp_path / "back")
    ours = from_pretrained(tmp_path / f"{name}_0.ckpt").eval()
    assert isinstance(ours, kind)
    assert ours.load_report.unexpected == ours.load_report.missing == ()
    x = 3 + 2 * torch.randn(4, 40, 1)
    mine, other = ours(x), theirs({"insample_y": x.clone()})
    torch.testing.assert_close(mine, other.view_as(mine), atol=1e-5, rtol=1e-5)
    mine.square().mean().backward()
    other.square().mean().backward()
    layers = {"trend": "linear_trend", "season": "linear_season", "head": "linear"}
    their = dict(theirs.named_parameters())
    for key, parameter in ours.named_parameters():
        layer, _, kind_of = key.partition(".")
        expected = their[f"{layers[layer]}.{kind_of}"].grad
        torch.testing.assert_close(parameter.grad, expected, atol=1e-5, rtol=1e-4)


def test_a_line_is_all_trend_and_a_wave_of_the_window_is_all_season() -> None:
    split = SeriesDecomposition(5)
    line = torch.arange(30.0, dtype=torch.float64)[None, :, None]
    season, trend = split(line)
    assert torch.allclose(season[:, 2:-2], torch.zeros(1, 26, 1, dtype=torch.float64))
    torch.testing.assert_close(season + trend, line)
    wave = torch.sin(line * 2 * torch.pi / 5)
    season, trend = split(wave)
    assert trend[:, 2:-2].abs().max() < 1e-12
    # At the ends the first and the last value are repeated.
    torch.testing.assert_close(
        split(line)[1][0, 0, 0], torch.tensor((0 + 0 + 0 + 1 + 2) / 5, dtype=torch.float64)
    )
    with pytest.raises(UserError, match="window is 4"):
        SeriesDecomposition(4)


def test_trend_and_season_have_a_layer_each() -> None:
    torch.manual_seed(0)
    model = DLinear(context_length=30, horizon=4, window=5)
    x = torch.randn(2, 30, 3)
    season, trend = model.decomposition(x)
    with torch.no_grad():
        model.trend.weight.zero_(), model.trend.bias.zero_()
    expected = (season.transpose(1, 2) @ model.season.weight.T + model.season.bias).transpose(1, 2)
    torch.testing.assert_close(model(x), expected)
    assert trend.abs().max() > 0.1


def test_missing_values_do_not_matter() -> None:
    model = DLinear(context_length=30, horizon=4)
    x, mask = torch.randn(2, 30, 3), torch.rand(2, 30, 3) > 0.3
    first = model(x.masked_fill(~mask, torch.nan), mask=mask)
    torch.testing.assert_close(first, model(x.masked_fill(~mask, 7.0), mask=mask))


def test_another_horizon_gets_new_layers(tmp_path: Path) -> None:
    model = DLinear(context_length=30, horizon=4)
    longer = from_pretrained(save_pretrained(model, tmp_path), horizon=9)
    assert longer(torch.randn(1, 30, 2)).shape == (1, 9, 2)
    assert "trend.weight" in longer.load_report.reinitialised


@pytest.mark.parametrize("columns", [3, 64])
@pytest.mark.parametrize("steps", [5, 256, 257])
def test_the_trend_is_the_average_with_repeated_ends(steps: int, columns: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, steps, columns, dtype=torch.float64, requires_grad=True)
    season, trend = SeriesDecomposition(7)(x)
    padded = torch.cat([x[:, :1].expand(-1, 3, -1), x, x[:, -1:].expand(-1, 3, -1)], dim=1)
    wanted = torch.stack([padded[:, t : t + 7].mean(dim=1) for t in range(steps)], dim=1)
    torch.testing.assert_close(trend, wanted)
    torch.testing.assert_close(season, x - wanted)
    weight = torch.randn_like(wanted)
    (found,) = torch.autograd.grad(trend, x, weight, retain_graph=True)
    (expected,) = torch.autograd.grad(wanted, x, weight)
    torch.testing.assert_close(found, expected)
