"""Scores against other ways to compute them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from panels import series
from torchmetrics.functional.regression import continuous_ranked_probability_score

from headway.core.heads import StudentT
from headway.timeseries.data import ForecastingData, PanelData
from headway.timeseries.metrics import (
    coverage,
    crps_from_quantiles,
    crps_from_samples,
    interval_levels,
    level_weights,
    pinball,
)
from headway.timeseries.models import Naive
from headway.timeseries.models.probabilistic import quantile_forecast
from headway.timeseries.tasks.scores import known_mean, scores


def test_the_best_constant_quantile_is_the_quantile() -> None:
    y = torch.randn(4001, generator=torch.Generator().manual_seed(0)).exp()
    levels = (0.1, 0.5, 0.9)
    tried = torch.linspace(0, 6, 601)
    best = [
        tried[pinball(y[:, None], tried[..., None], [q])[..., 0].mean(dim=0).argmin()]
        for q in levels
    ]
    np.testing.assert_allclose(best, np.quantile(y, levels), atol=0.02)
    torch.testing.assert_close(pinball(y, y[:, None] + 1, [0.5])[:, 0], torch.full_like(y, 0.5))


def test_crps_of_samples_is_that_of_torchmetrics() -> None:
    y, samples = torch.randn(50).double(), torch.randn(50, 30).double()
    ours = crps_from_samples(y, samples).mean()
    torch.testing.assert_close(ours, continuous_ranked_probability_score(samples, y))


def test_crps_of_quantiles_is_that_of_a_normal() -> None:
    normal = torch.distributions.Normal(torch.tensor(1.0).double(), 2.0)
    y = torch.linspace(-6, 8, 15).double()
    z = (y - 1) / 2
    unit = torch.distributions.Normal(torch.tensor(0.0).double(), 1.0)
    # Gneiting and Raftery 2007, equation 20.
    known = 2 * (z * (2 * unit.cdf(z) - 1) + 2 * unit.log_prob(z).exp() - np.pi**-0.5)
    fine = [(k + 0.5) / 1000 for k in range(1000)]
    quantiles = normal.icdf(torch.tensor(fine).double())
    torch.testing.assert_close(
        crps_from_quantiles(y, quantiles.expand(15, -1), fine), known, rtol=1e-3, atol=1e-3
    )
    coarse = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    rough = crps_from_quantiles(
        y, normal.icdf(torch.tensor(coarse).double()).expand(15, -1), coarse
    )
    torch.testing.assert_close(rough, known, rtol=0.1, atol=0.03)
    torch.testing.assert_close(level_weights([0.1, 0.5, 0.9]).tolist(), [0.3, 0.4, 0.3])


def test_coverage_counts_the_ends() -> None:
    y = torch.tensor([0.0, 1.0, 2.0, 3.0])
    assert coverage(y, torch.tensor(1.0), torch.tensor(2.0)).tolist() == [0, 1, 1, 0]
    assert interval_levels(80) == (0.1, 0.9)
    assert interval_levels(95) == (0.025, 0.975)


@pytest.mark.parametrize("kind", ["point", "quantiles", "student"])
def test_scores_are_those_of_the_known_values_alone(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(6, 4, 3, generator=generator)
    loc = y + torch.randn(6, 4, 3, generator=generator)
    levels = (0.1, 0.5, 0.9) if kind == "quantiles" else None
    answer = {
        "point": loc,
        "quantiles": torch.stack([loc - 1, loc, loc + 1], dim=-1),
        "student": StudentT(torch.full_like(y, 5.0), loc, torch.ones_like(y)),
    }[kind]
    mask = torch.rand(6, 4, 3, generator=generator) < 0.7
    scale, centre = torch.tensor([2.0, 3.0, 5.0]), torch.tensor([10.0, 0.0, -1.0])
    batch = {
        "y": y.masked_fill(~mask, torch.nan),
        "y_mask": mask,
        "scale": scale[None, None],
        "centre": centre[None, None],
        "seasonal": torch.tensor([0.5, 0.0, 2.0])[None, None],
    }
    found = {name: value for name, value, _ in scores(answer, batch, levels)}
    error = (loc - y).abs()
    raw, said = y * scale + centre, loc * scale + centre
    assert found["mse"] == pytest.approx(error[mask].square().mean().item(), rel=1e-5)
    assert found["mae_original"] == pytest.approx((error * scale)[mask].mean().item(), rel=1e-5)
    smape = 2 * (raw - said).abs() / (raw.abs() + said.abs())
    assert found["smape"] == pytest.approx(smape[mask].mean().item(), rel=1e-5)
    with_season = torch.stack([error[..., 0] / 0.5, error[..., 2] / 2], dim=-1)[mask[..., [0, 2]]]
    assert found["mase"] == pytest.approx(with_season.mean().item(), rel=1e-5)
    if kind == "point":
        assert "crps" not in found
        return
    inside = quantile_forecast(answer, levels, (0.1, 0.9))
    within = (y >= inside[..., 0]) & (y <= inside[..., 1])
    assert found["coverage_80"] == pytest.approx(within[mask].float().mean().item(), rel=1e-5)
    own = levels or tuple(k / 10 for k in range(1, 10))
    loss = 2 * pinball(y, quantile_forecast(answer, levels, own), own).mean(dim=-1) * scale
    assert found["wql"] == pytest.approx(
        (loss[mask].sum() / raw[mask].abs().sum()).item(), rel=1e-5
    )


def test_means_over_batches_are_means_over_values() -> None:
    values, weights = torch.rand(8, 3, 2), torch.rand(8, 3, 2)
    mask = torch.rand(8, 3, 2) < 0.5
    parts = [known_mean(values[k : k + 4], mask[k : k + 4], weights[k : k + 4]) for k in (0, 4)]
    whole, _ = known_mean(values, mask, weights)
    torch.testing.assert_close(sum(v * w for v, w in parts) / sum(w for _, w in parts), whole)


@pytest.mark.parametrize("kind", [ForecastingData, PanelData])
def test_mase_is_the_error_over_that_of_the_seasonal_naive_in_training(
    kind, tmp_path: Path
) -> None:
    frame = series(3, 200)
    # Of very different sizes, so that scaled and raw errors are not alike.
    frame["y"] *= frame.unique_id.map({"s0": 1.0, "s1": 50.0, "s2": 0.01})
    wide = frame.pivot(index="ds", columns="unique_id", values="y")
    path = tmp_path / "f.csv"
    (wide.reset_index() if kind is ForecastingData else frame).to_csv(path, index=False)
    data = kind(path=str(path), context_length=24, horizon=6, period=24)
    data.setup()
    assert data.test_set is not None
    batch = data.test_set.batch(list(range(len(data.test_set))))
    answer = Naive(context_length=24, horizon=6)(batch["x"])
    found = {name: value for name, value, _ in scores(answer, batch, None)}
    values = wide.to_numpy()
    size = np.abs(values[24:140] - values[:116]).mean(axis=0)
    errors = [
        np.abs(values[start : start + 6] - values[start - 1]) / size for start in range(160, 195)
    ]
    assert found["mase"].item() == pytest.approx(np.mean(errors), rel=1e-4)
