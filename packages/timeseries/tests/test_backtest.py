"""Models beside simple ones: origins, scores, intervals that follow the origin, and the verb."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from panels import series

from headway.core.cli.main import main
from headway.core.errors import UserError
from headway.core.training import Adam
from headway.core.weights import save_pretrained
from headway.timeseries import Forecaster
from headway.timeseries.backtesting import candidates
from headway.timeseries.backtesting.candidates import Candidate
from headway.timeseries.backtesting.origins import across_test_part, last_stretches
from headway.timeseries.backtesting.recalibration import Recalibration
from headway.timeseries.backtesting.resampling import BlockBootstrap, usual_block
from headway.timeseries.backtesting.rolling import Scores, backtest, verdict
from headway.timeseries.data import panel_of
from headway.timeseries.data.borders import Borders
from headway.timeseries.data.panel import Panel, cut, panel_of_table
from headway.timeseries.data.scaler import Scaler
from headway.timeseries.data.table import read_table
from headway.timeseries.models import ITransformer, NLinear, QuantileForecaster
from headway.timeseries.prediction.predictor import as_predictor


def made(name: str, panel: Panel, train: np.ndarray) -> Candidate:
    if name == "lightgbm":
        return candidates.light_gbm(
            panel, train, context_length=48, period=24, horizon=12, rows=12_000
        )
    if name == "ets":
        pytest.importorskip("statsforecast")
        return candidates.auto_ets(panel, 24, history=120, forms="ANA", refit=1)
    if name == "side by side":
        torch.manual_seed(0)
        model = ITransformer(context_length=48, horizon=20, dim=16, heads=2)
        notes = Scaler.of_parts([np.arange(3.0)] * 3, panel.names).as_dict() | {"marks": True}
        predictor = as_predictor(model, notes, "cpu", name=name)
    elif name == "nlinear":
        predictor = candidates.nlinear(panel, train, 48, 12)
    elif name == "naive":
        predictor = candidates.naive(48, 12)
    else:
        predictor = candidates.seasonal_naive(48, 12, 24)
    return candidates.of_model(predictor, panel, train)


SIMPLE = ("naive", "seasonal naive", "nlinear", "lightgbm")


def compared(kind: str, seed: int) -> dict[str, Scores]:
    frame = series(kind=kind, seed=seed)
    panel = panel_of(frame, kind)
    origins = last_stretches(panel, 12, 4)
    assert (origins.train == 400 - 12 * 9).all()
    ends = {name: panel.stamps(k)[400 - 12 * 9 - 1] for k, name in enumerate(panel.names)}
    torch.manual_seed(seed)
    model = QuantileForecaster(backbone=NLinear(context_length=48, horizon=12), hidden=8)
    forecaster = Forecaster(model, optimizer=Adam(lr=0.005), epochs=4)
    forecaster.fit(frame[frame.ds <= frame.unique_id.map(ends)])
    assert forecaster.predictor is not None
    models = {name: made(name, panel, origins.train) for name in SIMPLE}
    models["trained"] = candidates.of_model(forecaster.predictor, panel, origins.train)
    rows = backtest(panel, models, origins, horizon=12, period=24)
    return {row.model: row for row in rows}


@pytest.mark.learns
def test_a_model_with_skill_is_told_from_one_without(seed: int, measured) -> None:
    """Worst of seeds 0 to 4: lower ends of the skill .015 (trained) and .016, coverage .748 to .809."""
    rows = compared("season", seed)
    assert rows["seasonal naive"].skill == 0
    assert rows["seasonal naive"].mase == pytest.approx(1, abs=0.1)
    measured("trained", rows["trained"].skill_interval[0], above=0)
    measured("lightgbm", rows["lightgbm"].skill_interval[0], above=0)
    assert rows["naive"].mase > rows["seasonal naive"].mase
    for row in rows.values():
        measured("coverage", row.coverage, above=0.68, below=0.9)
        assert row.mase_interval[0] < row.mase < row.mase_interval[1]
    assert "is best" in verdict(list(rows.values()), ["trained"])[0]


@pytest.mark.learns
def test_on_random_walks_no_model_has_skill_against_naive(seed: int, measured) -> None:
    """Least ratio of seeds 0 to 4, here and on shuffled values: .995."""
    rows = compared("walk", seed)
    naive = rows["naive"].mase
    for name in ("nlinear", "lightgbm", "trained"):
        measured(name, rows[name].mase / naive, above=0.94)
    [line] = verdict([rows["naive"], rows["trained"]], ["trained"])
    assert line.startswith("horizon 12: naive") or rows["trained"].mase < naive


@pytest.mark.learns
def test_on_shuffled_values_no_model_beats_the_mean(seed: int, measured) -> None:
    rows = compared("shuffled", seed)
    # The mean of noise has an absolute error of 0.7 of that between two values.
    for name in ("nlinear", "lightgbm", "trained"):
        measured(name, rows[name].mase * np.sqrt(2), above=0.94)


@pytest.mark.parametrize("name", [*SIMPLE, "ets", "side by side"])
def test_nothing_behind_an_origin_is_read(name: str) -> None:
    frame = series(3, 300)
    panel = panel_of(frame, "f")
    spoiled = panel_of(frame.assign(y=np.where(frame.ds >= frame.ds[250], 1e4, frame.y)), "f")
    train = np.full(3, 200)

    def answer(panel: Panel, known: np.ndarray) -> np.ndarray:
        return made(name, panel, train)(known, 12)[0]

    known = np.array([[226] * 3, [250] * 3])
    found = answer(panel, known)
    np.testing.assert_allclose(answer(spoiled, known), found, rtol=1e-6)
    # What is known is read, and several origins at once are the same as one by one.
    assert not np.allclose(answer(spoiled, known + 1)[1], found[1])
    np.testing.assert_allclose(answer(panel, known[1:])[0], found[1], rtol=1e-5)
    # And they are the same as if the panel ended there.
    np.testing.assert_allclose(answer(cut(panel, 50), known[1:])[0], found[1], rtol=1e-5)


def test_series_side_by_side_are_asked_as_the_model_was_trained(make_csv) -> None:
    table = read_table(make_csv())
    panel = panel_of_table(table)
    torch.manual_seed(0)
    model = ITransformer(context_length=24, horizon=6, dim=16, heads=2)
    notes = {"names": ["a", "b"], "mean": [5.0, 9.0], "std": [2.0, 3.0], "marks": True}
    predictor = as_predictor(model, notes, "cpu", name="m")
    found, _ = candidates.of_model(predictor, panel, panel.lengths)(panel.lengths[None], 6)
    _, expected, _ = predictor.continue_table(table, 6)
    np.testing.assert_allclose(found[0].T, expected, rtol=1e-5)
    ragged = panel_of(pd.concat([series(1), series(1, 60).assign(unique_id="s9")]), "f")
    with pytest.raises(UserError, match="m was trained on series side by side, those of f do not"):
        candidates.of_model(predictor, ragged, ragged.lengths)(ragged.lengths[None], 6)


def test_where_forecasts_start(make_csv) -> None:
    panel = panel_of_table(read_table(make_csv(rows=400)))
    borders = Borders(280, 320, 400)
    found = across_test_part(panel, borders, 20, stride=4)
    assert found.scored[:, 0].tolist() == list(range(320, 381, 4))
    # The validation part knows its errors before the test part begins.
    assert (found.calibration[0, 0], found.calibration[-1, 0]) == (280, 300)
    assert (found.train == 280).all()
    assert len(across_test_part(panel, borders, 20, protocol="legacy-drop-last:32").scored) == 32
    found = last_stretches(panel, 20, 3, 2)
    assert found.scored[:, 1].tolist() == [340, 360, 380]
    assert found.calibration[:, 1].tolist() == [300, 320]
    with pytest.raises(UserError, match="series a has 400 steps, the backtest leaves out 400"):
        last_stretches(panel, 20, 15)


@pytest.mark.parametrize("kept", [5, 20])
def test_quantiles_move_by_the_errors_known_at_the_origin(kept: int) -> None:
    levels = (0.1, 0.5, 0.9)
    random = np.random.default_rng(0)
    lately = Recalibration(kept, levels)
    errors = random.normal(size=(kept + 3, 2, 4, 1)) * np.array([1.0, 10.0])[:, None, None]
    errors[2, 1, 3] = np.nan
    for k, error in enumerate(errors):
        lately.add(np.full(2, 12 * (k + 1)), error)
    assert lately.state(np.full(2, 12 * kept)) == (0, kept)
    assert lately.state(np.full(2, 12 * (kept + 2) + 11)) == (2, kept + 2)
    assert lately.state(np.array([999, 12 * (kept + 3) - 1])) == (2, kept + 2)
    found = lately.offsets((2, kept + 2))
    for place, step in ((0, 0), (1, 3)):
        # Few errors of one series say nothing about its tails, so all series count.
        mine = errors[2 : kept + 2, :, step] if kept < 19 else errors[2 : kept + 2, place, step]
        mine = mine[~np.isnan(mine)]
        expected = np.quantile(mine, levels, method="weibull")
        np.testing.assert_allclose(found[place, step], expected, rtol=1e-5)


def test_intervals_follow_errors_that_grow() -> None:
    random = np.random.default_rng(0)
    size = np.where(np.arange(140) < 40, 1.0, 3.0)  # the noise triples at once
    errors = size[:, None, None, None] * random.normal(size=(140, 1, 30, 1))

    def coverage(moving: bool) -> float:
        lately, inside = Recalibration(30, (0.1, 0.9)), []
        for k, error in enumerate(errors):
            if k >= 30:
                low, high = np.moveaxis(lately.offsets(lately.state(np.full(1, k))), -1, 0)
                inside.append(((low <= error[..., 0]) & (error[..., 0] <= high)).mean())
            if moving or k < 30:
                lately.add(np.full(1, k + 1), error)
        return float(np.mean(inside[10:]))

    assert 0.74 < coverage(moving=True) < 0.82
    assert coverage(moving=False) < 0.5


def test_blocks_of_series_and_time_tell_how_sure_a_mean_is() -> None:
    random = np.random.default_rng(0)
    shared = np.repeat(random.normal(size=60), 5)  # alike for five origins, and for all series
    own = 2 * random.normal(size=40)
    sums = shared[:, None] + own + random.normal(size=(300, 40))
    counts = np.ones_like(sums)
    true = np.sqrt(1 / 60 + 4 / 40)
    found = BlockBootstrap(300, 40, 10).means(sums, counts)
    assert found.mean() == pytest.approx(sums.mean(), abs=0.05)
    assert found.std() == pytest.approx(true, rel=0.15)
    # Without one of the two the interval is too narrow.
    in_time = BlockBootstrap(300, 1, 10).means(sums.mean(axis=1, keepdims=True), counts[:, :1])
    assert in_time.std() == pytest.approx(np.sqrt(1 / 60), rel=0.35)
    single = BlockBootstrap(300, 1, 1).means(sums.mean(axis=1, keepdims=True), counts[:, :1])
    assert single.std() < 0.65 * in_time.std()
    assert (usual_block(27, 1), usual_block(1000, 96), usual_block(5, 1)) == (3, 96, 1)
    assert np.isnan(BlockBootstrap(3, 2, 1).means(np.zeros((3, 2)), np.zeros((3, 2)))).all()


def test_autoets_and_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("statsforecast")
    frame = series(2, 200)
    frame.loc[frame.unique_id == "s1", "y"] = 7.0
    panel = panel_of(frame, "f")
    model = candidates.auto_ets(panel, 24, history=120)
    points, quantiles = model(np.array([[188, 188]]), 12)
    assert points.shape == (1, 2, 12)
    assert quantiles is not None
    assert (np.diff(quantiles[0, 0], axis=-1) > 0).all()
    assert (quantiles[0, 1] == 7).all()
    # The states move before the form is chosen anew.
    again, _ = model(np.array([[200, 200]]), 12)
    assert not np.allclose(again, points)
    monkeypatch.setitem(sys.modules, "statsforecast.models", None)
    with pytest.raises(UserError, match=r'pip install "headway\[backtest\]"'):
        candidates.auto_ets(panel, 24)


def told(capsys: pytest.CaptureFixture[str], *words: object) -> dict:
    assert main(["backtest", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_verb_takes_series_of_any_length(tmp_path: Path, capsys) -> None:
    frame = pd.concat([series(3), series(1, 60).assign(unique_id="short")])
    path, out = tmp_path / "panel.csv", tmp_path / "scores.csv"
    frame.to_csv(path, index=False)
    torch.manual_seed(0)
    model = NLinear(context_length=48, horizon=12)
    Forecaster(model, optimizer=Adam(lr=0.01), epochs=1, folder=tmp_path / "run").fit(
        series(3).groupby("unique_id").head(250)
    )
    words = [path, "--horizon", "12", "-m", tmp_path / "run", "--windows", "2"]
    words += ["--simple", "naive", "seasonal", "lightgbm", "--context-length", "48"]
    assert main(["backtest", *map(str, words)]) == 2
    assert "series short: has 60 steps, at least 144 are needed" in capsys.readouterr().err
    words += ["--on-invalid", "skip", "-o", out, "--plot", tmp_path / "p.png"]
    found = told(capsys, *words)
    names = [row["model"] for row in found["scores"]]
    assert names[1:] == ["naive", "seasonal naive", "LightGBM"]
    assert [row["windows"] for row in found["scores"]] == [2] * 4
    assert len(found["skipped"]) == 1
    assert found["verdict"][0].startswith("horizon 12: ")
    assert {"model", "over", "interval", "horizon"} == set(found["leads"][0])
    assert len(pd.read_csv(out)) == 4
    assert (tmp_path / "p.png").stat().st_size > 1000
    # Without a word the last stretches are scored, too: there is no common test part.
    long = pd.concat([series(1), series(1, 300).assign(unique_id="b")])
    long.to_csv(path, index=False)
    [row] = told(capsys, path, "--horizon", "12", "--simple", "naive")["scores"]
    assert row["windows"] == 5
    assert main(["backtest", str(path), "--stride", "2", "--simple", "naive"]) == 2
    assert "--stride are for the test part" in capsys.readouterr().err


def test_wide_and_long_files_give_the_same_scores(make_csv, tmp_path: Path, capsys) -> None:
    model = QuantileForecaster(backbone=ITransformer(context_length=24, horizon=6, dim=16, heads=2))
    folder = save_pretrained(model, tmp_path / "model")
    words = ["-m", folder, "--horizon", 3, 6, "--context-length", 48, "--stride", 3, "--simple"]
    words += ["naive", "nlinear"]
    wide = told(capsys, make_csv("wide.csv", rows=400), *words)
    long = told(capsys, make_csv("long.csv", rows=400, long=True), *words)
    assert len(wide["scores"]) == 6
    for one, other in zip(wide["scores"], long["scores"], strict=True):
        assert one.keys() == other.keys()
        for key in one.keys() - {"seconds", "model"}:
            assert one[key] == pytest.approx(other[key], rel=1e-6), key
        assert 0 < one["crps"] < one["mase"]
        assert one["wql"] > 0
        assert 0.5 < one["coverage"] <= 1
    assert wide["verdict"] == long["verdict"]
    [line, _] = wide["verdict"]
    assert f"this simple model beats {folder}" in line


def scored(model: str, mase: float, leads: dict[str, tuple[float, float]]) -> Scores:
    numbers = dict.fromkeys(("mse", "mae", "crps", "skill", "wql", "coverage", "seconds"), 1.0)
    ends = dict.fromkeys(
        (f"{n}_interval" for n in ("mase", "crps", "skill", "coverage")), (0.0, 1.0)
    )
    sizes = {"horizon": 1, "windows": 1, "series": 1}
    return Scores(model=model, mase=mase, leads=leads, **sizes, **numbers, **ends)


def test_a_model_is_best_only_where_that_is_sure() -> None:
    sure, unsure = (0.1, 0.2), (-0.1, 0.2)
    rows = [
        scored("mine", 0.5, {"mean": sure, "naive": sure}),
        scored("mean", 0.6, {}),
        scored("naive", 0.9, {}),
    ]
    assert verdict(rows, ["mine"]) == ["horizon 1: mine is best (MASE 0.5000)"]
    rows[0] = scored("mine", 0.5, {"mean": unsure, "naive": sure})
    assert verdict(rows, ["mine"]) == [
        "horizon 1: mine has the least MASE (0.5000), not distinguishable from mean; mine has no sure skill "
        "against mean"
    ]
    for nothing in (np.nan, np.inf):
        broken = scored("broken", nothing, {"mean": (np.nan, np.nan)})
        [line] = verdict([broken, *rows[1:]], ["broken"])
        assert line.startswith("horizon 1: mean has the least MASE (0.6000), not disting")
        assert line.endswith("broken gave no number")
        assert "broken is best" not in line
        assert verdict([broken], ["broken"]) == [
            "horizon 1: no model gave a number; broken gave no number"
        ]
        assert json.loads(json.dumps(broken.as_dict()))["mase"] is None


def test_on_white_noise_nothing_is_best() -> None:
    panel = panel_of(series(3, 600, "shuffled"), "f")
    origins = last_stretches(panel, 12, 6)
    models = {name: made(name, panel, origins.train) for name in SIMPLE}
    models["mean"] = candidates.mean(panel)
    # Almost the mean, which no learned model beats.
    torch.manual_seed(0)
    other = candidates.mean(panel)

    def trained(known: np.ndarray, horizon: int) -> tuple:
        points, _ = other(known, horizon)
        return points + 0.01 * np.sin(np.arange(horizon)), None

    models["trained"] = trained
    rows = backtest(panel, models, origins, horizon=12, period=24)
    found = {row.model: row for row in rows}
    assert found["mean"].leads["naive"][0] > 0
    assert found["trained"].skill_interval[0] > 0.1  # against the seasonal naive forecast
    [line] = verdict(rows, ["trained"])
    assert "is best" not in line
    assert "trained has no sure skill against mean" in line
    # The lead of one is what the other lags behind.
    low, high = found["mean"].leads["naive"]
    assert found["naive"].leads["mean"] == pytest.approx((-high, -low))


def test_the_mean_is_that_of_what_is_known() -> None:
    frame = series(2, 100)
    frame.loc[[3, 4], "y"] = np.nan
    points, _ = candidates.mean(panel_of(frame, "f"))(np.array([[60, 70], [1, 2]]), 3)
    ours = frame.y.to_numpy().reshape(2, 100)
    assert points.shape == (2, 2, 3)
    np.testing.assert_allclose(points[0, 0], np.nanmean(ours[0, :60]))
    np.testing.assert_allclose(points[0, 1], ours[1, :70].mean())


def test_a_series_with_few_known_errors_takes_those_of_all() -> None:
    random = np.random.default_rng(0)
    errors = random.normal(size=(30, 2, 4, 1))
    errors[3:, 1] = np.nan
    lately = Recalibration(30, (0.1, 0.9))
    for k, error in enumerate(errors):
        lately.add(np.full(2, k + 1), error)
    found = lately.offsets((0, 30))
    assert np.isfinite(found).all()
    together = errors[:, :, 2].ravel()
    expected = np.quantile(together[~np.isnan(together)], (0.1, 0.9), method="weibull")
    np.testing.assert_allclose(found[1, 2], expected, rtol=1e-5)
    np.testing.assert_allclose(
        found[0, 2], np.quantile(errors[:, 0, 2, 0], (0.1, 0.9), method="weibull"), rtol=1e-5
    )
