"""The toolboxes act on iTransformer through the seams."""

import pytest
import torch
from torch import Tensor

from headway.core.explain import gradient_relevance, token_relevance
from headway.core.reduction import MostSimilar, merge_tokens, unmerge_model
from headway.core.testing.tools import check_adapters, check_lora, token_slopes
from headway.timeseries.models import ITransformer


def itransformer() -> ITransformer:
    torch.manual_seed(0)
    model = ITransformer(context_length=12, horizon=5, dim=16, depth=2, heads=2)
    return model.double().eval()


def windows(series: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 12, series, generator=generator, dtype=torch.float64).cumsum(dim=1)


def first_hour(forecast: Tensor) -> Tensor:
    return forecast[:, 0]  # the answers are the series


def test_low_rank_adapters() -> None:
    check_lora(itransformer(), lambda model: model(windows(4)))


def test_base_and_adapter_are_the_tuned_model(tmp_path) -> None:
    check_adapters(
        itransformer, lambda model: model.set_horizon(7), lambda model: model(windows(4)), tmp_path
    )


@pytest.mark.parametrize("explain", [gradient_relevance, token_relevance])
def test_a_series_without_values_has_no_relevance(explain) -> None:
    model, x = itransformer(), windows(5)
    mask = torch.ones(2, 12, 5, dtype=torch.bool)
    mask[1, :, 3:] = False
    x[1, :, 3:] = torch.nan
    ask = {"answer": first_hour, "target": 0}
    found = explain(model, x, keywords={"mask": mask}, **ask)
    assert (found[1, 3:] == 0).all()
    assert (found[0] != 0).all()
    torch.testing.assert_close(found[1, :3], explain(model, x[1:, :, :3], **ask)[0])


def test_relevance_is_the_slope_of_the_answer_along_each_series() -> None:
    model, x = itransformer(), windows(4)
    slopes = token_slopes(model.encoder, lambda: first_hour(model(x))[:, 2])
    found = token_relevance(model, x, answer=first_hour, target=2)
    torch.testing.assert_close(found, slopes, atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize("where", ["mixer", "feedforward"])
def test_merging_of_series(where: str) -> None:
    model, x = itransformer(), windows(6)
    before = model(x)
    assert torch.equal(merge_tokens(model, MostSimilar(amount=0), where=where)(x), before)
    merge_tokens(unmerge_model(model), MostSimilar(ratio=0.5), where=where)
    assert not torch.allclose(model(x), before)
    # A series that is there twice counts twice.
    twice = windows(3).repeat_interleave(2, dim=2)
    merged = model(twice)
    mask = torch.ones(2, 12, 6, dtype=torch.bool)
    mask[1, :, 4:] = False
    padded = model(x.masked_fill(~mask, torch.nan), mask=mask)
    torch.testing.assert_close(padded[1, :, :4], model(x[1:, :, :4])[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(merged, unmerge_model(model)(twice))
