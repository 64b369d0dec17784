"""``headway forecast`` and ``headway backtest`` as a user meets them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from wide_tables import panel

from headway.core.cli.main import main
from headway.core.weights import save_pretrained
from headway.timeseries.backtesting.least_squares import fit_nlinear
from headway.timeseries.data.scaler import Scaler
from headway.timeseries.data.table import read_table
from headway.timeseries.models import ITransformer, Naive, NLinear
from headway.timeseries.prediction.predictor import as_predictor


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = ITransformer(context_length=24, horizon=12, dim=16, heads=2)
    folder = save_pretrained(model, tmp_path / "model")
    notes = {"names": ["a", "b"], "mean": [5.0, 9.0], "std": [2.0, 3.0], "step": "h"}
    (folder / "preprocessing.json").write_text(json.dumps(notes))
    return folder


def forecast(model: Path, *words: object) -> int:
    return main(["forecast", "-m", str(model), *map(str, words)])


@pytest.mark.parametrize("long", [False, True])
def test_the_forecast_comes_in_the_form_and_units_of_the_file(
    long: bool, trained: Path, make_csv, tmp_path: Path, capsys
) -> None:
    path, out = make_csv(long=long), tmp_path / "out.csv"
    assert forecast(trained, path, "-o", out) == 0
    assert "3 series forecast over 12 steps" in capsys.readouterr().err
    table, before = read_table(out), read_table(path)
    assert (table.form, table.names) == (before.form, ("a", "b", "c"))
    assert table.stamps[0] == before.stamps[-1] + pd.Timedelta("1h")
    assert len(table.stamps) == 12
    # Not scaled: around where each series ends.
    spread = np.abs(table.values.mean(axis=0) - before.values[-24:].mean(axis=0))
    assert (spread < 3 * before.values[-24:].std(axis=0)).all()


def test_a_longer_horizon_reads_its_own_forecasts(
    trained: Path, make_csv, tmp_path: Path, capsys
) -> None:
    path = make_csv()
    assert forecast(trained, path, "-o", tmp_path / "long.csv", "--horizon", 20) == 0
    assert "for the rest of 20 it reads its own forecasts" in capsys.readouterr().err
    assert forecast(trained, path, "-o", tmp_path / "short.csv", "--horizon", 5) == 0
    long, short = (read_table(tmp_path / f"{name}.csv").values for name in ("long", "short"))
    assert (len(long), len(short)) == (20, 5)
    np.testing.assert_allclose(long[:5], short)
    first = panel(200).tail(12)
    assert forecast(trained, path, "-o", tmp_path / "own.csv") == 0
    fed = pd.concat([panel(200), pd.read_csv(tmp_path / "own.csv", parse_dates=["date"])])
    fed.to_csv(tmp_path / "fed.csv", index=False)
    assert forecast(trained, tmp_path / "fed.csv", "-o", tmp_path / "rest.csv") == 0
    rest = read_table(tmp_path / "rest.csv").values[:8]
    assert len(first) == 12
    # Series c is scaled by its own file, which now holds twelve rows more.
    np.testing.assert_allclose(long[12:, :2], rest[:, :2], rtol=0.05)


def test_bad_items_are_refused_left_out_and_counted(
    trained: Path, make_csv, tmp_path: Path, capsys
) -> None:
    good, short = make_csv("good.csv"), make_csv("short.csv", rows=20)
    out = tmp_path / "out"
    assert forecast(trained, good, short, "-o", out) == 2
    assert f"{short}: has 20 rows, the model reads 24" in capsys.readouterr().err
    assert forecast(trained, good, short, "-o", out, "--on-invalid", "skip", "--overwrite") == 0
    said = capsys.readouterr().err
    assert "1 series not read" in said
    assert [path.name for path in out.iterdir()] == ["good.csv"]
    holes = [(row, "b") for row in range(170, 200)]
    for form in (False, True):
        path = make_csv("dead.csv", holes=holes, long=form)
        words = ["-o", tmp_path / "dead_out.csv", "--overwrite"]
        assert forecast(trained, path, *words, "--on-invalid", "raise") == 2
        if not form:
            assert "series b: has no value in the last 24 rows" in capsys.readouterr().err
        assert forecast(trained, path, *words, "--on-invalid", "skip", "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert told["forecast"] == 2
        table = read_table(tmp_path / "dead_out.csv")
        known = dict(zip(table.names, ~np.isnan(table.values).all(axis=0), strict=True))
        assert known == ({"a": True, "c": True} if form else {"a": True, "b": False, "c": True})


def test_another_step_of_time_is_refused(trained: Path, tmp_path: Path, capsys) -> None:
    frame = panel(60)
    frame["date"] = pd.date_range("2024-01-01", periods=60, freq="D")
    frame.to_csv(tmp_path / "daily.csv", index=False)
    assert forecast(trained, tmp_path / "daily.csv", "-o", tmp_path / "o.csv") == 2
    assert "has a step of D, the model was trained on steps of h" in capsys.readouterr().err
    assert main(["forecast", str(tmp_path / "daily.csv"), "-o", "x.csv"]) == 2
    assert "forecast with what?" in capsys.readouterr().err


def backtest(path: Path, *words: object) -> int:
    return main(["backtest", str(path), *map(str, words)])


def test_the_scores_are_those_of_a_loop_by_hand(make_csv, tmp_path: Path, capsys) -> None:
    path = make_csv(holes=[(185, "b"), (190, "c")])
    words = ["--horizon", 6, "--context-length", 24, "--simple", "naive", "--json"]
    assert backtest(path, *words) == 0
    [scores] = json.loads(capsys.readouterr().out)["scores"]
    values = read_table(path).values
    train = values[:140]
    scaled = (values - train.mean(axis=0)) / train.std(axis=0)
    squared, absolute = [], []
    for origin in range(160, 195):
        past = scaled[origin - 24 : origin]
        last = np.array([column[~np.isnan(column)][-1] for column in past.T])
        error = scaled[origin : origin + 6] - last
        squared.append(error[~np.isnan(error)] ** 2)
        absolute.append(np.abs(error[~np.isnan(error)]))
    assert scores["windows"] == 35
    assert scores["mse"] == pytest.approx(np.concatenate(squared).mean(), rel=1e-5)
    assert scores["mae"] == pytest.approx(np.concatenate(absolute).mean(), rel=1e-5)


def test_it_says_plainly_where_a_simple_model_wins(
    trained: Path, make_csv, tmp_path: Path, capsys
) -> None:
    out, plot = tmp_path / "scores.csv", tmp_path / "scores.png"
    words = ["-m", trained, "--horizon", 6, 24, "--context-length", 48, "-o", out, "--plot", plot]
    assert backtest(make_csv(rows=400), *words) == 0
    said = capsys.readouterr()
    assert "forecasts 12 steps and is left out of horizon 24" in said.err
    assert f"this simple model beats {trained}" in said.out
    assert plot.stat().st_size > 1000
    table = pd.read_csv(out)
    assert set(table.model) == {str(trained), "naive", "seasonal naive", "mean", "NLinear"}
    best = table[table.horizon == 24].sort_values("mse").model.iloc[0]
    assert best == "NLinear"
    naive = table[(table.model == "seasonal naive") & (table.horizon == 6)]
    assert 0.5 < naive.mase.iloc[0] < 2
    assert backtest(tmp_path / "scores.csv", "--horizon", 6) == 2


def _repeats() -> NLinear:
    """NLinear that repeats the last value."""
    model = NLinear(context_length=10, horizon=12)
    torch.nn.init.zeros_(model.head.weight)
    torch.nn.init.zeros_(model.head.bias)
    return model


def test_several_runs_are_compared(trained: Path, make_csv, tmp_path: Path, capsys) -> None:
    other = save_pretrained(_repeats(), tmp_path / "other")
    words = ["-m", trained, "-m", other, "--simple", "naive", "--json"]
    assert backtest(make_csv(), *words) == 0
    rows = json.loads(capsys.readouterr().out)["scores"]
    assert [row["model"] for row in rows] == [str(trained), str(other), "naive"]
    assert rows[1]["mse"] == pytest.approx(rows[2]["mse"], rel=1e-6)


def test_nlinear_by_least_squares_is_the_best_linear_map() -> None:
    random = np.random.default_rng(0)
    time = np.arange(400)
    values = np.stack([np.sin(time / 5), 3 + np.cos(time / 9) + 0.05 * time], axis=1)
    values += random.normal(0, 1e-3, values.shape)
    scaler = Scaler.fit(values[:300], ["a", "b"])
    parts = [
        values[:300, 0],
        values[100:300, 1],
        values[:9, 1],
    ]  # the last is too short for a window
    three = Scaler.of_parts([values[:300, 0], values[:300, 1], values[:300, 1]], ["a", "b", "c"])
    model = fit_nlinear(parts, three, context_length=20, horizon=5, ridge=1e-8)
    assert isinstance(model, NLinear)
    x = torch.from_numpy(scaler.forward(values[None, 320:340])).float()
    expected = torch.from_numpy(scaler.forward(values[340:345]))
    torch.testing.assert_close(model(x)[0].detach().double(), expected, atol=0.05, rtol=0)


def test_marks_of_the_future_follow_the_rollout(make_csv) -> None:
    seen: list[np.ndarray] = []

    class Spy(Naive):
        def forward(self, x, *, mask=None, marks=None, future_marks=None, static=None):
            seen.append(torch.cat([marks, future_marks], dim=1)[0].numpy())
            return super().forward(x, mask=mask)

    predictor = as_predictor(Spy(context_length=24, horizon=6), {"marks": True}, "cpu", name="spy")
    table = read_table(make_csv())
    predictor.continue_table(table, 12)
    # The second call starts six hours later.
    np.testing.assert_allclose(seen[0][6:], seen[1][:-6])
