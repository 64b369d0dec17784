"""A large offset, or tiny values, change no forecast: series are double precision until they are centred."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from panels import series

from headway.core.training import Adam
from headway.timeseries import Forecaster
from headway.timeseries.backtesting import candidates
from headway.timeseries.backtesting.origins import last_stretches
from headway.timeseries.backtesting.rolling import backtest
from headway.timeseries.data import ForecastingData, PanelData, Scaler, panel_of
from headway.timeseries.data.panel import panel_of_table
from headway.timeseries.data.table import table_of
from headway.timeseries.models import ITransformer, Naive, NLinear, SeasonalNaive
from headway.timeseries.prediction.predictor import as_predictor

UNITS = [(1.0, 1e9), (1e-14, 0.0), (1e-14, 1e-7), (1e12, -3e14)]


def wide(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.pivot(index="ds", columns="unique_id", values="y").reset_index()


@pytest.mark.parametrize(("scale", "offset"), UNITS)
def test_windows_are_the_same_in_all_units(scale: float, offset: float, tmp_path: Path) -> None:
    frame = series(3, 300)
    moved = frame.assign(y=frame.y * scale + offset)
    # What double precision keeps of the values at all.
    left = 64 * np.finfo(float).eps * abs(offset) / scale + 1e-5
    for kind, form in ((PanelData, lambda f: f), (ForecastingData, wide)):
        found = []
        for k, one in enumerate((frame, moved)):
            path = tmp_path / f"{kind.__name__}{k}.csv"
            form(one).to_csv(path, index=False)
            data = kind(path=str(path), context_length=24, horizon=6, period=24)
            data.setup()
            found.append(data.train_set.batch(list(range(50))))
        for name in ("x", "y", "seasonal"):
            torch.testing.assert_close(found[0][name], found[1][name], atol=left, rtol=1e-4)


@pytest.mark.parametrize(("scale", "offset"), UNITS)
def test_forecasts_and_scores_are_the_same_in_all_units(scale: float, offset: float) -> None:
    frame = series(3, 300)
    left = 256 * np.finfo(float).eps * abs(offset) / scale + 1e-3
    scores = []
    for one in (frame, frame.assign(y=frame.y * scale + offset)):
        panel = panel_of(one, "f")
        origins = last_stretches(panel, 12, 3)
        torch.manual_seed(0)
        raw = {
            "naive": candidates.naive(48, 12),
            "seasonal naive": candidates.seasonal_naive(48, 12, 24),
            "nlinear": candidates.nlinear(panel, origins.train, 48, 12),
            # Without a scaler of its own, but with a norm of its windows.
            "norm": as_predictor(
                ITransformer(context_length=48, horizon=12, dim=8, heads=1), {}, "cpu", name="norm"
            ),
        }
        models = {name: candidates.of_model(p, panel, origins.train) for name, p in raw.items()}
        models["mean"] = candidates.mean(panel)
        models["LightGBM"] = candidates.light_gbm(
            panel, origins.train, context_length=48, period=24, horizon=12, rows=2000
        )
        scores.append(backtest(panel, models, origins, horizon=12, period=24))
    for one, other in zip(*scores, strict=True):
        loose = 0.05 if one.model == "LightGBM" else left  # ties of bins
        assert other.mase == pytest.approx(one.mase, rel=loose), one.model
        assert other.crps == pytest.approx(one.crps, rel=loose), one.model
        assert other.mse == pytest.approx(one.mse, rel=2 * loose), one.model


@pytest.mark.parametrize("model", [Naive, NLinear, lambda **k: SeasonalNaive(period=24, **k)])
def test_models_without_a_scaler_keep_the_signal(model) -> None:
    frame = wide(series(2, 100))
    frame = frame.assign(s0=frame.s0 + 1e9, s1=frame.s1 + 1e9)
    torch.manual_seed(0)
    predictor = as_predictor(model(context_length=48, horizon=6), {}, "cpu", name="m")
    table = table_of(frame, "f")
    _, found, _ = predictor.continue_table(table, 6)
    torch.manual_seed(0)
    predictor = as_predictor(model(context_length=48, horizon=6), {}, "cpu", name="m")
    near = table_of(frame.assign(s0=frame.s0 - 1e9, s1=frame.s1 - 1e9), "f")
    _, expected, _ = predictor.continue_table(near, 6)
    np.testing.assert_allclose(found - 1e9, expected, atol=1e-4)
    assert panel_of_table(table).values.dtype == np.float64


@pytest.mark.learns
def test_a_meter_keeps_its_signal(seed: int, measured) -> None:
    random = np.random.default_rng(seed)
    use = 0.2 + 0.15 * np.sin(2 * np.pi * np.arange(500) / 24) + 0.02 * random.normal(size=500)
    frame = series(1, 500).assign(y=98_765_432 + use.cumsum())
    torch.manual_seed(seed)
    forecaster = Forecaster(
        NLinear(context_length=48, horizon=12), optimizer=Adam(lr=0.005), epochs=15
    )
    found = forecaster.cross_validation(frame, windows=3)
    # Single precision knows the meter to 8; staying where it is misses 1.3.
    measured("error", (found.y - found.actual).abs().mean(), below=0.6)


def test_what_is_constant_is_a_question_of_size() -> None:
    tiny = np.random.default_rng(0).normal(size=(50, 1))
    for scale, offset in ((1e-14, 0), (1e-14, 1e-7), (1e-200, 0), (1e200, 0), (1, 1e9)):
        found = Scaler.fit(tiny * scale + offset, ["a"])
        assert found.std[0] == pytest.approx(tiny.std() * scale, rel=1e-4)
    for constant in (0.0, 0.1, 1e-14, 1e9):
        assert Scaler.fit(np.full((1001, 1), constant), ["a"]).std[0] == 1
