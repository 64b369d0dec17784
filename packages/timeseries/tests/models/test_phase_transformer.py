"""PhaseTransformer: the linear forecast that it begins with, and phases that inform each other."""

from pathlib import Path

import pytest
import torch
from torch import nn

from headway.core.errors import UserError
from headway.core.weights import from_pretrained, save_pretrained
from headway.timeseries.models import PhaseTransformer


def small(*, trained: bool = True, **options) -> PhaseTransformer:
    torch.manual_seed(0)
    sizes = {"context_length": 24, "horizon": 10, "period": 6, "dim": 8, "heads": 2}
    model = PhaseTransformer(**{**sizes, **options}).double().eval()
    if trained:  # a head that still is zero hides the transformer
        nn.init.normal_(model.head.weight)
    return model


def test_it_begins_with_the_linear_forecast_of_each_phase() -> None:
    model = small(trained=False)
    x = 3 + 2 * torch.randn(2, 24, 3, dtype=torch.float64)
    found = model(x)
    weights = model.linear.weight
    for item, window in enumerate(x):
        mean, scale = window.mean(0), (window.var(0, unbiased=False) + 1e-5).sqrt()
        scaled = (window - mean) / scale
        for step in range(10):
            days = scaled[step % 6 :: 6]  # the same phase in each of the four periods
            wanted = weights[step // 6] @ days * scale + mean
            torch.testing.assert_close(found[item, step], wanted)


def test_phases_inform_each_other_and_series_do_not() -> None:
    model = small()
    x = torch.randn(1, 24, 2, dtype=torch.float64)
    other = x.clone()
    # Two days change places at one phase of one series: its mean and deviation stay.
    other[0, [4, 10], 0] = x[0, [10, 4], 0]
    change = (model(other) - model(x)).abs()[0]
    assert change[4, 0] > 1e-3
    assert change[[0, 1, 2, 3, 5], 0].min() > 1e-6
    assert change[:, 1].max() == 0
    small_again = small(trained=False)
    linear = (small_again(other) - small_again(x)).abs()[0]
    assert linear[[0, 1, 2, 3, 5, 6, 7, 8, 9], 0].max() < 1e-12


def test_missing_values_are_not_read() -> None:
    model = small()
    x, mask = torch.randn(2, 24, 3, dtype=torch.float64), torch.rand(2, 24, 3) > 0.2
    torch.testing.assert_close(
        model(x.masked_fill(~mask, torch.nan), mask=mask), model(x, mask=mask)
    )


def test_weights_are_kept_and_another_horizon_begins_linear(tmp_path: Path) -> None:
    model = small()
    x = torch.randn(1, 24, 2, dtype=torch.float64)
    again = from_pretrained(save_pretrained(model, tmp_path)).double().eval()
    torch.testing.assert_close(again(x), model(x))
    longer = from_pretrained(tmp_path, horizon=14)
    assert longer(x.float()).shape == (1, 14, 2)
    assert longer.linear.weight.shape == (3, 4)
    assert longer.head.weight.count_nonzero() == 0


def test_a_window_of_broken_periods_is_refused() -> None:
    with pytest.raises(UserError, match="context_length 25 is no multiple of period 6"):
        small(context_length=25)
