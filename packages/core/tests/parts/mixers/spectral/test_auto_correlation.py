"""Auto-Correlation against its equations, written out."""

import math

import pytest
import torch

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import AutoCorrelation, AutoCorrelationCross, SelfAttention
from headway.core.mixers.spectral.auto_correlation import circular_correlation, roll_and_add


def written_out(query, key, value, factor):
    """Equations 5 and 6 with rolled copies."""
    batch, tokens, channels = query.shape
    number = int(factor * math.log(tokens))
    out = torch.zeros_like(value)
    for item in range(batch):
        agreement = torch.stack(
            [(query[item] * key[item].roll(lag, 0)).sum() / channels for lag in range(tokens)]
        )
        top = agreement.topk(number)
        for weight, lag in zip(top.values.softmax(0), top.indices.tolist(), strict=True):
            out[item] += weight * value[item].roll(-lag, 0)
    return out


@pytest.mark.parametrize("tokens", [13, 24])
def test_it_is_what_the_equations_say(tokens: int) -> None:
    torch.manual_seed(0)
    mixer = AutoCorrelation(8, 2, factor=2).double().eval()
    x = torch.randn(3, tokens, 8, dtype=torch.float64)
    query, key, value = mixer.qkv(x).chunk(3, dim=-1)
    torch.testing.assert_close(mixer(x), mixer.projection(written_out(query, key, value, 2)))
    plain = SelfAttention(8, 2).double()
    plain.load_state_dict(mixer.state_dict())
    assert (mixer(x) - plain(x)).abs().max() > 1e-2


@pytest.mark.parametrize(("asked", "given"), [(10, 14), (14, 10)], ids=["cut", "filled"])
def test_a_context_is_cut_or_filled_up_with_zeros(asked: int, given: int) -> None:
    torch.manual_seed(0)
    mixer = AutoCorrelationCross(8, 2, factor=1).double().eval()
    x = torch.randn(2, asked, 8, dtype=torch.float64)
    context = torch.randn(2, given, 8, dtype=torch.float64)
    both = mixer.kv(context)[:, :asked]
    both = torch.cat([both, both.new_zeros(2, asked - both.shape[1], 16)], dim=1)
    expected = written_out(mixer.q(x), *both.chunk(2, dim=-1), 1)
    torch.testing.assert_close(mixer(x, context=context), mixer.projection(expected))


def test_a_series_that_repeats_is_aligned_by_its_period() -> None:
    mixer = AutoCorrelation(4, 1, factor=1, qkv_bias=False, out_bias=False).double().eval()
    with torch.no_grad():
        mixer.qkv.weight.copy_(torch.eye(4, dtype=torch.float64).repeat(3, 1) * 30)
        mixer.projection.weight.copy_(torch.eye(4, dtype=torch.float64) / 30)
    period = torch.randn(1, 6, 4, dtype=torch.float64)
    x = period.repeat(1, 4, 1)
    # All of the best lags are multiples of six, so every average is the series itself.
    torch.testing.assert_close(mixer(x), x)


def test_long_sequences_give_the_same_by_fourier_transforms(monkeypatch) -> None:
    query, key, value = (torch.randn(2, 30, 4, dtype=torch.float64) for _ in range(3))
    lags, weights = torch.tensor([[0, 7, 7], [29, 1, 2]]), torch.rand(2, 3, dtype=torch.float64)
    short = circular_correlation(query, key), roll_and_add(value, lags, weights)
    monkeypatch.setattr("headway.core.mixers.spectral.auto_correlation._SHORT", 8)
    long = circular_correlation(query, key), roll_and_add(value, lags, weights)
    for a, b in zip(short, long, strict=True):
        torch.testing.assert_close(a, b)


def test_lags_are_shared_in_training_and_each_items_own_otherwise() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 16, 8)
    mixer = AutoCorrelation(8, 2)
    assert (mixer(x)[:1] - mixer(x[:1])).abs().max() > 1e-4
    torch.testing.assert_close(mixer.eval()(x)[:1], mixer(x[:1]))
    own = AutoCorrelation(8, 2, batch_lags=False)
    torch.testing.assert_close(own(x)[:1], own(x[:1]))


def test_what_cannot_work_is_refused() -> None:
    x = torch.randn(2, 6, 8)
    with pytest.raises(UserError, match="does not support lengths"):
        AutoCorrelation(8, 2)(x, Layout(lengths=torch.tensor([6, 3])))
    with pytest.raises(UserError, match="needs context="):
        AutoCorrelationCross(8, 2)(x)
    with pytest.raises(UserError, match="factor must be above 0"):
        AutoCorrelation(8, 2, factor=0)


def test_long_sequences_of_narrow_numbers_are_transformed_in_wide_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1100, 8, generator=generator)
    mixer = AutoCorrelation(8, 2).eval()
    wanted = mixer(x)
    found = mixer.bfloat16()(x.bfloat16())
    assert found.dtype == torch.bfloat16
    assert found.isfinite().all()
    assert found.shape == wanted.shape
