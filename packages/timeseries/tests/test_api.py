"""``headway.timeseries.Forecaster``: a frame in, a frame out."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from panels import series

from headway.core.errors import UserError
from headway.core.training import Adam
from headway.timeseries import Forecaster
from headway.timeseries.models import NLinear


def small(**options) -> Forecaster:
    torch.manual_seed(0)
    model = NLinear(context_length=48, horizon=12)
    return Forecaster(model, optimizer=Adam(lr=0.01), epochs=3, **options)


def test_a_frame_in_a_frame_out() -> None:
    frame = series()
    known = frame[frame.ds < frame.ds.max() - pd.Timedelta(hours=11)]
    found = small().fit(known).predict(12, level=[80])
    assert list(found.columns) == ["unique_id", "ds", "y", "y-lo-80", "y-hi-80"]
    both = found.merge(frame, on=["unique_id", "ds"], suffixes=("", "_true"))
    assert len(both) == 12 * 12
    assert (both.y - both.y_true).abs().mean() < 0.6
    inside = (both["y-lo-80"] <= both.y_true) & (both.y_true <= both["y-hi-80"])
    assert 0.65 < inside.mean() < 0.95
    forecaster = small()
    with pytest.raises(UserError, match="not trained; call fit"):
        forecaster.predict()


def test_cross_validation_never_sees_what_it_forecasts() -> None:
    frame = series(4, 300)
    found = small().cross_validation(frame, windows=2)
    assert len(found) == 4 * 2 * 12
    assert found.actual.notna().all()
    assert (found.ds - found.cutoff).dt.total_seconds().between(3600, 12 * 3600).all()
    assert (found.y - found.actual).abs().mean() < 0.7
    # What comes in the last stretch changes no forecast of it.
    spoiled = frame.assign(y=np.where(frame.ds > found.cutoff.max(), 1e6, frame.y))
    again = small().cross_validation(spoiled, windows=2)
    np.testing.assert_allclose(again.y, found.y, rtol=1e-6)


def test_importing_the_domain_costs_nothing() -> None:
    code = "import sys, headway.timeseries; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
