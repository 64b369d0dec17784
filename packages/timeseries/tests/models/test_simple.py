import pytest
import torch

from headway.core.errors import UserError
from headway.timeseries.layers import last_observed
from headway.timeseries.models import Naive, NLinear, SeasonalNaive


def test_naive_repeats_the_last_known_value() -> None:
    x = torch.tensor([[[1.0, 4.0], [2.0, torch.nan], [torch.nan, torch.nan]]])
    model = Naive(context_length=3, horizon=2)
    assert model(x, mask=~x.isnan()).tolist() == [[[2.0, 4.0], [2.0, 4.0]]]
    nothing = torch.full((1, 3, 1), torch.nan)
    assert model(nothing, mask=~nothing.isnan()).tolist() == [[[0.0], [0.0]]]


def test_seasonal_naive_repeats_the_last_period() -> None:
    x = torch.arange(7.0)[None, :, None]
    model = SeasonalNaive(period=3, context_length=7, horizon=5)
    assert model(x)[0, :, 0].tolist() == [4, 5, 6, 4, 5]
    mask = torch.tensor([1, 1, 1, 1, 0, 1, 0])[None, :, None] == 1
    # 4 is missing: 1, a period before; 6 is missing: 3.
    assert model(x.masked_fill(~mask, torch.nan), mask=mask)[0, :, 0].tolist() == [1, 5, 3, 1, 5]
    with pytest.raises(UserError, match="a period of 8 steps does not fit into 7 steps"):
        SeasonalNaive(period=8, context_length=7, horizon=5)


def test_nlinear_moves_with_its_series() -> None:
    torch.manual_seed(0)
    model = NLinear(context_length=6, horizon=3).double()
    x = torch.randn(2, 6, 4, dtype=torch.float64)
    torch.testing.assert_close(model(x + 100), model(x) + 100)
    # A linear layer without the last value taken off would scale the shift.
    plain = model.head((x + 100).transpose(1, 2)) - model.head(x.transpose(1, 2))
    assert not torch.allclose(plain, torch.full_like(plain, 100.0), atol=1)
    expected = (x[:, :, 1] - x[:, -1:, 1]) @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(model(x)[:, :, 1], expected + x[:, -1:, 1])


def test_nlinear_reads_past_missing_values() -> None:
    torch.manual_seed(0)
    model = NLinear(context_length=6, horizon=3)
    x, mask = torch.randn(2, 6, 4), torch.rand(2, 6, 4) > 0.4
    first = model(x.masked_fill(~mask, torch.nan), mask=mask)
    last = last_observed(x, mask)
    torch.testing.assert_close(first, model(torch.where(mask, x, last)) * 1, atol=0.3, rtol=1)
    first.sum().backward()
    assert model.head.weight.grad.isfinite().all()
    model.set_horizon(5)
    assert model(x).shape == (2, 5, 4)
