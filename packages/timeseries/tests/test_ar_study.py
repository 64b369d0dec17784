"""The exact parts of the study of attention on autoregressive series."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.nn import functional as F


@pytest.fixture(scope="module")
def study() -> ModuleType:
    path = Path(__file__).parents[3] / "tools" / "studies" / "ar_in_context.py"
    spec = importlib.util.spec_from_file_location("ar_in_context", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_series_follow_their_process(study) -> None:
    coefficients = torch.tensor([[0.5, 0.3]], dtype=torch.float64)
    series = study.simulate(coefficients.expand(4000, -1), 6, seed=0)
    # Yule and Walker: the first correlation is a1 / (1 - a2), the variance follows from it.
    first = 0.5 / 0.7
    second = 0.5 * first + 0.3
    variance = 1 / (1 - 0.5 * first - 0.3 * second)
    assert series.var().item() == pytest.approx(variance, rel=0.06)
    assert (series[:, 1] * series[:, 0]).mean().item() / variance == pytest.approx(first, abs=0.05)
    forecast = study.fit_linear(series, 2)
    context = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    assert forecast(context).tolist() == pytest.approx([0.3, 0.5], abs=0.05)


def test_drawn_processes_are_stable(study) -> None:
    for coefficients in study.stable_coefficients(50, 4, seed=1):
        assert study.spectral_radius(coefficients) < 1
    assert study.spectral_radius(torch.tensor([0.0, 0.25])) == pytest.approx(0.5)


def test_linear_self_attention_is_linear_in_the_cubic_features(study) -> None:
    torch.manual_seed(0)
    order = 3
    context = torch.randn(5, 12, dtype=torch.float64)
    rows = study.hankel(context, order)
    assert rows.shape == (5, 10, 4)
    assert torch.equal(rows[:, 2, :], context[:, 2:6])
    assert torch.equal(rows[:, -1, :3], context[:, -3:])
    assert (rows[:, -1, 3] == 0).all()
    value, pairs = torch.randn(4, 4, dtype=torch.float64), torch.randn(4, 4, dtype=torch.float64)
    # One layer: values, times keys against the query, over the columns that are known.
    known, query = rows[:, :-1], rows[:, -1]
    scores = torch.einsum("mia,ab,mb->mi", known, pairs, query) / known.shape[1]
    expected = torch.einsum("mi,mia,ba->mb", scores, known, value)[:, -1]
    features = study.cubic_features(context, order)
    found = torch.einsum("mabc,a,bc->m", features, value[-1], pairs[:, :3])
    torch.testing.assert_close(found, expected)


def test_the_optimum_is_one_and_the_relaxation_is_below_it(study) -> None:
    series = study.simulate(study.FIXED.expand(600, -1), 21, seed=2)
    target = series[:, -1]
    errors = {
        name: float((fit(series, study.ORDER)(series[:, :-1]) - target).square().mean())
        for name, fit in {
            "cubic": study.fit_cubic,
            "attention": study.fit_linear_attention,
            "linear": study.fit_linear,
        }.items()
    }
    assert errors["cubic"] <= errors["attention"]
    one_round = study.fit_linear_attention(series, study.ORDER, rounds=1)
    assert errors["attention"] < float((one_round(series[:, :-1]) - target).square().mean())
    # Fewer numbers, and on the training series itself nearly as good.
    assert errors["linear"] < 1.2 * errors["cubic"]


def test_forecasts_of_a_process_fade_with_its_largest_root(study) -> None:
    coefficients = study.FIXED
    turned = coefficients.flip(0)
    context = torch.randn(4, 6, dtype=torch.float64)
    found = study.rollout(lambda x: x[:, -3:] @ turned, context, 60)
    matrix = study.companion(coefficients)
    state = context[:, -3:].flip(1)
    for step in range(60):
        state = state @ matrix.T
        torch.testing.assert_close(found[:, step], state[:, 0])
    rate = (found[:, -1] / found[:, -2]).mean().item()
    assert rate == pytest.approx(study.spectral_radius(coefficients), abs=1e-3)


def test_least_squares_in_context_finds_the_process_of_each_series(study) -> None:
    coefficients = study.stable_coefficients(3, 2, seed=3)
    series = study.simulate(coefficients, 3000, seed=4)
    found = study.in_context_least_squares(series, 2)
    expected = (series[:, -2:] * coefficients.flip(1)).sum(dim=1)
    torch.testing.assert_close(found, expected, atol=0.2, rtol=0)


def test_a_probe_answers_at_the_query(study) -> None:
    torch.manual_seed(0)
    probe = study.Probe(2, study.SelfAttention, dim=8, depth=1, heads=1).eval()
    context = torch.randn(3, 9)
    found = probe(context)
    assert found.shape == (3,)
    # Columns come in any order: places are told by what they hold.
    rows = study.hankel(context, 2)
    asked = F.one_hot(torch.tensor(rows.shape[1] - 1), rows.shape[1])[:, None].float()
    tokens = probe.embedding(torch.cat([rows, asked.expand(3, -1, -1)], dim=2))
    order = torch.cat([torch.randperm(rows.shape[1] - 1), torch.tensor([rows.shape[1] - 1])])
    again = probe.head(probe.encoder(tokens[:, order])[0][:, -1])[:, 0]
    torch.testing.assert_close(again, found)
