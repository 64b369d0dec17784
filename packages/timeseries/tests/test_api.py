"""``headway.timeseries.Forecaster``, and models beside simple ones on a panel."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from headway.core.cli.main import main
from headway.core.errors import UserError
from headway.core.training import Adam
from headway.timeseries import Forecaster
from headway.timeseries.data import panel_of
from headway.timeseries.models import NLinear, QuantileForecaster
from headway.timeseries.verbs import candidates
from headway.timeseries.verbs.panel_backtest import (
    backtest_panel,
    checkpoint,
    cut,
    training_part,
    verdict,
)


def series(number: int = 12, rows: int = 400, kind: str = "season") -> pd.DataFrame:
    random = np.random.default_rng(0)
    time, parts = np.arange(rows), []
    for k in range(number):
        noise = random.normal(size=rows)
        y = {
            "season": 5 * k + np.sin(2 * np.pi * (time + k) / 24) * (1 + k / 4) + 0.3 * noise,
            "walk": noise.cumsum(),
            "shuffled": noise,
        }[kind]
        stamps = pd.date_range("2024-01-01", periods=rows, freq="h")
        parts.append(pd.DataFrame({"unique_id": f"s{k}", "ds": stamps, "y": y}))
    return pd.concat(parts, ignore_index=True)


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


def compared(kind: str) -> tuple[list, Forecaster]:
    panel = panel_of(series(kind=kind), kind)
    train = training_part(panel, 12, 4)
    frame = series(kind=kind)
    ends = {name: train.stamps(k)[-1] for k, name in enumerate(train.names)}
    torch.manual_seed(0)
    model = QuantileForecaster(backbone=NLinear(context_length=48, horizon=12), hidden=8)
    forecaster = Forecaster(model, optimizer=Adam(lr=0.005), epochs=4)
    forecaster.fit(frame[frame.ds <= frame.unique_id.map(ends)])
    assert forecaster.predictor is not None
    models = {
        "naive": candidates.naive,
        "seasonal naive": candidates.seasonal_naive(24),
        "nlinear": candidates.nlinear(train, 48, 12),
        "lightgbm": candidates.light_gbm(train, 24, 12),
        "trained": checkpoint(forecaster.predictor, panel),
    }
    return backtest_panel(panel, models, horizon=12, windows=4, period=24), forecaster


def test_a_model_with_skill_is_told_from_one_without() -> None:
    rows = {row.model: row for row in compared("season")[0]}
    assert rows["seasonal naive"].skill == 0
    assert rows["seasonal naive"].mase == pytest.approx(1, abs=0.1)
    assert rows["trained"].skill_interval[0] > 0
    assert rows["lightgbm"].skill_interval[0] > 0
    assert rows["naive"].mase > rows["seasonal naive"].mase
    for row in rows.values():
        assert 0.7 < row.coverage < 0.9, row
        assert row.mase_interval[0] < row.mase < row.mase_interval[1]
    assert "is best" in verdict(list(rows.values()), ["trained"])


def test_on_random_walks_no_model_has_skill_against_naive() -> None:
    rows = {row.model: row for row in compared("walk")[0]}
    naive = rows["naive"].mase
    for name in ("nlinear", "lightgbm", "trained"):
        assert rows[name].mase > 0.97 * naive, name
    assert (
        verdict([rows["naive"], rows["trained"]], ["trained"]).startswith("naive is best")
        or rows["trained"].mase < naive
    )


def test_on_shuffled_values_no_model_beats_the_mean() -> None:
    rows = {row.model: row for row in compared("shuffled")[0]}
    # The mean of noise has an absolute error of 0.7 of that between two values.
    for name in ("nlinear", "lightgbm", "trained"):
        assert rows[name].mase > 0.97 / np.sqrt(2), name


def test_autoets_and_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("statsforecast")
    panel = panel_of(series(2, 200), "f")
    points, quantiles = candidates.auto_ets(24, 120)(cut(panel, 12), 12)
    assert points.shape == (2, 12)
    assert quantiles is not None
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    monkeypatch.setitem(sys.modules, "statsforecast.models", None)
    with pytest.raises(UserError, match=r'pip install "headway\[backtest\]"'):
        candidates.auto_ets(24)
    with pytest.raises(UserError, match="series s0 has 200 steps, the backtest leaves out 240"):
        cut(panel, 240)


def test_the_verb_compares_on_a_panel(tmp_path, capsys) -> None:
    frame = pd.concat([series(3), series(1, 60).assign(unique_id="short")])
    path, out = tmp_path / "panel.csv", tmp_path / "scores.csv"
    frame.to_csv(path, index=False)
    small(folder=tmp_path / "run").fit(series(3).groupby("unique_id").head(250))
    words = ["backtest", str(path), "--panel", "--horizon", "12", "-m", str(tmp_path / "run")]
    words += ["--simple", "naive", "lightgbm", "--context-length", "48", "--windows", "2"]
    assert main(words) == 2
    assert "series short: has 60 steps, at least 144 are needed" in capsys.readouterr().err
    words += ["--on-invalid", "skip", "-o", str(out), "--plot", str(tmp_path / "p.png")]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["model"] for row in told["scores"]][1:] == ["seasonal naive", "naive", "LightGBM"]
    assert len(told["skipped"]) == 1
    assert "is best (MASE" in told["verdict"]
    assert len(pd.read_csv(out)) == 4
    assert (tmp_path / "p.png").stat().st_size > 1000
    assert main(["backtest", str(path), "--simple", "autoets"]) == 2
    assert "--simple autoets is for panels" in capsys.readouterr().err
