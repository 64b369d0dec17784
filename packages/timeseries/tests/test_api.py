"""``headway.timeseries.Forecaster``: a frame in, a frame out."""

import copy
import logging
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from panels import series

from headway.core.errors import InputError, UserError
from headway.core.training import Adam
from headway.timeseries import Forecaster
from headway.timeseries.data import Covariates
from headway.timeseries.models import ITransformer, NLinear


def small(seed: int = 0, **options) -> Forecaster:
    torch.manual_seed(seed)
    model = NLinear(context_length=48, horizon=12)
    return Forecaster(model, optimizer=Adam(lr=0.01), epochs=3, **options)


@pytest.mark.learns
def test_a_frame_in_a_frame_out(seed: int, measured) -> None:
    frame = series()
    known = frame[frame.ds < frame.ds.max() - pd.Timedelta(hours=11)]
    found = small(seed).fit(known).predict(12, level=[80])
    assert list(found.columns) == ["unique_id", "ds", "y", "y-lo-80", "y-hi-80"]
    both = found.merge(frame, on=["unique_id", "ds"], suffixes=("", "_true"))
    assert len(both) == 12 * 12
    measured("error", (both.y - both.y_true).abs().mean(), below=0.6)
    inside = (both["y-lo-80"] <= both.y_true) & (both.y_true <= both["y-hi-80"])
    measured("inside", inside.mean(), above=0.65, below=0.95)
    forecaster = small()
    with pytest.raises(UserError, match="not trained; call fit"):
        forecaster.predict()


@pytest.mark.learns
def test_cross_validation_never_sees_what_it_forecasts(seed: int, measured) -> None:
    frame = series(4, 300)
    found = small(seed).cross_validation(frame, windows=2)
    assert len(found) == 4 * 2 * 12
    assert found.actual.notna().all()
    assert (found.ds - found.cutoff).dt.total_seconds().between(3600, 12 * 3600).all()
    measured("error", (found.y - found.actual).abs().mean(), below=0.7)
    # What comes in the last stretch changes no forecast of it.
    spoiled = frame.assign(y=np.where(frame.ds > found.cutoff.max(), 1e6, frame.y))
    again = small(seed).cross_validation(spoiled, windows=2)
    np.testing.assert_allclose(again.y, found.y, rtol=1e-6)


def test_every_fit_starts_from_the_weights_it_was_made_with() -> None:
    frame = series(3, 200)
    given = NLinear(context_length=48, horizon=12)
    before = copy.deepcopy(given.state_dict())
    forecaster = Forecaster(given, optimizer=Adam(lr=0.01), epochs=2)
    once = forecaster.fit(frame).predict(level=[80])
    with torch.no_grad():
        given.head.weight += 1  # whatever becomes of the model
    twice = forecaster.fit(frame).predict(level=[80])
    pd.testing.assert_frame_equal(once, twice)
    given.load_state_dict(before)
    pd.testing.assert_frame_equal(forecaster.cross_validation(frame), _fresh(given, frame))
    # And what was fitted forecasts as before, from the end of its own frame.
    pd.testing.assert_frame_equal(forecaster.predict(level=[80]), once)
    assert all(torch.equal(given.state_dict()[key], value) for key, value in before.items())


def _fresh(model: NLinear, frame: pd.DataFrame) -> pd.DataFrame:
    return Forecaster(model, optimizer=Adam(lr=0.01), epochs=2).cross_validation(frame)


@pytest.mark.learns
def test_white_noise_cannot_be_foretold_after_a_fit(seed: int, measured) -> None:
    frame = series(2, 200)
    frame["y"] = np.random.default_rng(seed).normal(size=len(frame))
    torch.manual_seed(seed)
    model = NLinear(context_length=48, horizon=12)
    options = {"optimizer": Adam(lr=0.03), "epochs": 6, "validation": 0.1}
    forecaster = Forecaster(model, **options).fit(frame)
    found = forecaster.cross_validation(frame, windows=6)
    # What was fitted has seen these stretches; the forecasts are those of one that has not.
    pd.testing.assert_frame_equal(
        found, Forecaster(model, **options).cross_validation(frame, windows=6)
    )
    measured("error", ((found.y - found.actual) ** 2).mean(), above=0.9)


def test_stretches_may_overlap_and_be_trained_for_again() -> None:
    frame = series(2, 200)
    found = small().cross_validation(frame, windows=3, step_size=4)
    starts = found.groupby("unique_id").cutoff.unique()
    for cutoffs in starts:
        assert (np.diff(pd.DatetimeIndex(cutoffs)) == np.timedelta64(4, "h")).all()
        assert cutoffs[-1] == frame.ds.max() - pd.Timedelta(hours=12)
    assert len(found) == 2 * 3 * 12
    often = small().cross_validation(frame, windows=3, step_size=4, refit=True)
    first, last = found.cutoff.min(), found.cutoff.max()
    pd.testing.assert_frame_equal(often[often.cutoff == first], found[found.cutoff == first])
    # Trained again before the last stretch, on what is known there.
    alone = small().cross_validation(frame, windows=1)
    again = often[often.cutoff == last].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, alone)
    assert not np.allclose(again.y, found[found.cutoff == last].y)
    second = small().cross_validation(frame, windows=3, step_size=4, refit=2)
    pd.testing.assert_frame_equal(second[second.cutoff == last], often[often.cutoff == last])
    for wrong in ({"step_size": 0}, {"windows": 0}, {"windows": True}, {"refit": -1}):
        with pytest.raises(UserError):
            small().cross_validation(frame, **wrong)


def test_models_side_by_side() -> None:
    frame = series(2, 200)
    torch.manual_seed(0)
    one, other = NLinear(context_length=48, horizon=12), NLinear(context_length=24, horizon=12)
    options = {"optimizer": Adam(lr=0.01), "epochs": 1}
    both = Forecaster([one, other], **options)
    found = both.fit(frame).predict(level=[80])
    names = [f"{m}{end}" for m in ("NLinear", "NLinear1") for end in ("", "-lo-80", "-hi-80")]
    assert list(found.columns) == ["unique_id", "ds", *names]
    alone = Forecaster(other, **options).fit(frame).predict()
    np.testing.assert_allclose(found["NLinear1"], alone.y)
    crossed = Forecaster({"long": one, "short": other}, **options).cross_validation(frame)
    assert list(crossed.columns) == ["unique_id", "ds", "long", "short", "cutoff", "actual"]
    with pytest.raises(UserError, match=r"forecast \[6, 12\] steps; side by side they need one"):
        Forecaster([one, NLinear(context_length=48, horizon=6)])
    with pytest.raises(UserError, match="there is no model"):
        Forecaster([])


def test_a_short_series_is_named_or_left_out(caplog) -> None:
    frame = pd.concat([series(2, 200), series(1, 10).assign(unique_id="short")])
    with pytest.raises(InputError, match="series short: has 10 steps, at least 96 are needed"):
        small().cross_validation(frame)
    with caplog.at_level(logging.WARNING):
        found = small(on_invalid="skip").cross_validation(frame)
    assert "skipped 1 of 3 series: frame, series short" in caplog.text
    assert set(found.unique_id) == {"s0", "s1"}
    with pytest.raises(UserError, match="has 10 steps"):
        small().cross_validation(series(2, 10))


def test_words_mean_what_they_meant_in_training() -> None:
    frame = series(4, 120)
    frame["region"] = frame.unique_id.map(
        {"s0": "north", "s1": "south", "s2": "north", "s3": "south"}
    )
    torch.manual_seed(0)
    model = ITransformer(context_length=24, horizon=6, dim=8, heads=2, static=2)
    covariates = Covariates(static=["region"])
    forecaster = Forecaster(model, covariates=covariates, epochs=1, optimizer=Adam(lr=0.01))
    whole = forecaster.fit(frame).predict()
    # A file without the north: south is still the second word.
    part = frame[frame.region == "south"]
    expected = whole[whole.unique_id.isin(["s1", "s3"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(forecaster.predict(frame=part), expected)
    west = frame.assign(region=frame.region.where(frame.unique_id != "s2", "west"))
    with pytest.raises(
        InputError, match="series s2: static covariate 'region' is 'west', the model"
    ):
        forecaster.predict(frame=west)
    forecaster.on_invalid = "skip"
    assert set(forecaster.predict(frame=west).unique_id) == {"s0", "s1", "s3"}


def test_importing_the_domain_costs_nothing() -> None:
    code = "import sys, headway.timeseries; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
