"""What a person reads when a file cannot be used: the file, the series or row, and what to do."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from panels import series
from wide_tables import panel

from headway.core.cli.main import main
from headway.core.errors import InputError
from headway.core.weights import save_pretrained
from headway.timeseries.data import ForecastingData, PanelData
from headway.timeseries.models import NLinear


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    return save_pretrained(NLinear(context_length=24, horizon=6), tmp_path / "model")


@pytest.fixture
def panel_model(model: Path) -> Path:
    notes = {"names": ["s0"], "mean": [0.0], "std": [1.0], "step": "h", "panel": True}
    (model / "preprocessing.json").write_text(json.dumps(notes))
    return model


def wide(what: str) -> pd.DataFrame:
    frame = panel(200)
    if what == "duplicate":
        frame.loc[9, "date"] = frame.loc[8, "date"]
    elif what == "unsorted":
        frame.loc[[8, 9], "date"] = frame.loc[[9, 8], "date"].to_numpy()
    elif what == "gap":
        frame = frame.drop(index=9)
    elif what == "zones":
        frame["date"] = frame.date.astype(str) + np.where(frame.index < 9, "+01:00", "+02:00")
    elif what == "summer time":
        stamps = pd.date_range("2024-03-30", periods=200, freq="h", tz="Europe/Berlin")
        frame["date"] = stamps.tz_localize(None)
    elif what == "short":
        frame = frame.head(20)
    return frame


WIDE = {
    "duplicate": "row 11 (2024-01-01 08:00:00) is the same stamp as row 10",
    "unsorted": "row 11 (2024-01-01 08:00:00) is before row 10 (2024-01-01 09:00:00)",
    "gap": "is 0 days 02:00:00 after the row above, the step is 0 days 01:00:00; add the missing rows",
    "zones": "column 'date' has stamps of several time zones",
    "summer time": "row 28 (2024-03-31 03:00:00) is 0 days 02:00:00 after the row above",
    "short": "has 20 rows, the model reads 24",
}


@pytest.mark.parametrize("what", WIDE)
def test_a_wide_file_that_cannot_be_used(what: str, model: Path, tmp_path: Path, capsys) -> None:
    path = tmp_path / "bad.csv"
    wide(what).to_csv(path, index=False)
    assert main(["forecast", "-m", str(model), str(path), "-o", str(tmp_path / "o.csv")]) == 2
    said = capsys.readouterr().err
    assert f"{path}" in said
    assert WIDE[what] in said
    assert not (tmp_path / "o.csv").exists()


def long(what: str) -> pd.DataFrame:
    frame = series(3, 120)
    mine = frame.index[frame.unique_id == "s1"]
    if what == "short":
        return frame.drop(mine[20:])
    if what == "empty":
        frame.loc[mine, "y"] = np.nan
    elif what == "empty end":
        frame.loc[mine[-30:], "y"] = np.nan
    elif what == "duplicate":
        frame.loc[mine[9], "ds"] = frame.loc[mine[8], "ds"]
    elif what == "unsorted":
        frame.loc[mine[[8, 9]], "ds"] = frame.loc[mine[[9, 8]], "ds"].to_numpy()
    elif what == "off the clock":
        frame.loc[mine[9], "ds"] += pd.Timedelta(minutes=5)
    return frame


LONG = {
    "short": "series s1: has 20 steps, the model reads 24",
    "empty": "series s1: has no value in the last 24 steps",
    "empty end": "series s1: has no value in the last 24 steps",
    "duplicate": "series s1: has 2024-01-01 08:00:00 twice; keep one row",
    "unsorted": "series s1: has 2024-01-01 08:00:00 after a later stamp; sort the rows",
    "off the clock": "series s1: 2024-01-01 09:05:00 is not on the clock of the panel",
}


@pytest.mark.parametrize("what", LONG)
def test_a_series_of_a_panel_is_named_and_the_others_go_on(
    what: str, panel_model: Path, tmp_path: Path, capsys
) -> None:
    path, out = tmp_path / "bad.csv", tmp_path / "o.csv"
    long(what).to_csv(path, index=False)
    words = ["forecast", "-m", str(panel_model), str(path), "-o", str(out)]
    assert main(words) == 2
    assert LONG[what] in capsys.readouterr().err
    assert main([*words, "--on-invalid", "skip"]) == 0
    assert "1 series not read" in capsys.readouterr().err
    assert pd.read_csv(out).unique_id.unique().tolist() == ["s0", "s2"]


def test_a_longer_horizon_of_a_panel_reads_its_own_forecasts(
    panel_model: Path, tmp_path: Path, capsys
) -> None:
    frame = pd.concat([series(2, 120), series(1, 60).assign(unique_id="late")])
    frame.to_csv(tmp_path / "p.csv", index=False)

    def forecast(path: str, horizon: int) -> pd.DataFrame:
        words = [str(tmp_path / path), "-o", str(tmp_path / "o.csv"), "--horizon", str(horizon)]
        assert main(["forecast", "-m", str(panel_model), *words, "--overwrite"]) == 0
        return pd.read_csv(tmp_path / "o.csv", parse_dates=["ds"])

    whole = forecast("p.csv", 15)
    assert "for the rest of 15 it reads its own forecasts" in capsys.readouterr().err
    assert whole.groupby("unique_id").size().tolist() == [15] * 3
    first = forecast("p.csv", 6)
    np.testing.assert_allclose(first.y, whole.groupby("unique_id", sort=False).head(6).y)
    pd.concat([frame, first]).sort_values(["unique_id", "ds"]).to_csv(
        tmp_path / "q.csv", index=False
    )
    rest = forecast("q.csv", 9).set_index(["unique_id", "ds"]).y
    both = rest.to_frame("again").join(whole.set_index(["unique_id", "ds"]).y)
    assert both.y.notna().all()
    # s0 is scaled as in training, the others by their own files, which hold six rows more.
    np.testing.assert_allclose(both.again["s0"], both.y["s0"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(both.again, both.y, atol=0.1)
    words = ["forecast", "-m", str(panel_model), str(tmp_path / "p.csv"), "-o", "x.csv"]
    assert main([*words, "--horizon", "15", "--level", "80"]) == 2
    assert (
        "gives intervals for its own horizon of 6 steps, asked were 15" in capsys.readouterr().err
    )


def test_a_zone_is_kept(model: Path, tmp_path: Path) -> None:
    frame = wide("").assign(date=lambda f: f.date.dt.tz_localize("UTC"))
    frame.to_csv(tmp_path / "utc.csv", index=False)
    out = tmp_path / "o.csv"
    assert main(["forecast", "-m", str(model), str(tmp_path / "utc.csv"), "-o", str(out)]) == 0
    assert pd.read_csv(out).date[0] == "2024-01-09 08:00:00+00:00"


def test_series_that_say_nothing(tmp_path: Path, capsys) -> None:
    frame = panel(200).assign(b=np.nan)
    path = tmp_path / "f.csv"
    frame.to_csv(path, index=False)
    sizes = {"context_length": 24, "horizon": 6}
    with pytest.raises(
        InputError, match="series b: has no value in the training part, the first 140"
    ):
        ForecastingData(path=str(path), **sizes).setup()
    ForecastingData(path=str(path), columns=["a", "c"], **sizes).setup()
    words = ["backtest", str(path), "--horizon", "6", "--context-length", "24"]
    assert main(words) == 2
    assert "series b: has no value at all" in capsys.readouterr().err
    assert main([*words, "--on-invalid", "skip", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["skipped"][0]["name"] == f"{path}, series b"
    frame.assign(a=1.0, b=2.0, c=3.0).to_csv(path, index=False)
    assert main(words) == 2
    assert "no series of" in (said := capsys.readouterr().err)
    assert "changes from one period of 24 steps to the next; give another --period" in said
    late = series(2, 200)
    late.loc[late.index[late.unique_id == "s1"][:150], "y"] = np.nan
    late.to_csv(path, index=False)
    with pytest.raises(
        InputError, match="series s1: has no value in its training part, the first 140"
    ):
        PanelData(path=str(path), **sizes).setup()
    data = PanelData(path=str(path), on_invalid="skip", **sizes)
    data.setup()
    assert data.series == ("s0",)
