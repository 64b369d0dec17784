"""The step of time: hours, business days, months and what is missing of them; the same in all readers."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from headway.core.cli.main import main
from headway.core.errors import InputError, UserError
from headway.core.training.invalid import InvalidItems
from headway.core.weights import save_pretrained
from headway.timeseries.data import ForecastingData, PanelData, panel_of, read_table
from headway.timeseries.data.steps import clock_of, infer_step, parse_step, same_step
from headway.timeseries.models import NLinear

STEPS = (
    "15min", "h", "7h", "D", "2D", "B", "W-MON", "2W-TUE", "MS", "ME", "BMS", "BME", "QS-JAN", "QS-FEB",
    "QE-DEC", "QE-NOV", "YS-JAN", "YE-DEC", "YE-JUN", "6MS",
)  # fmt: skip


def long_frame(**series: pd.DatetimeIndex) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"unique_id": name, "ds": stamps, "y": np.sin(np.arange(len(stamps)))})
        for name, stamps in series.items()
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_found_with_gaps_too(step: str, zone: str | None) -> None:
    if zone is not None and step == "7h":
        pytest.skip("hours of a zone are not equally far apart on its clocks")
    whole = pd.date_range("2021-01-05 08:00", periods=60, freq=step, tz=zone)
    for stamps in (whole, whole.delete([3, 20, 21, 40])):
        found = infer_step(stamps, [0, len(stamps)], "f")
        assert same_step(found, step)
        clock = clock_of(stamps, found, "f")
        assert (clock == whole).all()
        assert panel_of(long_frame(a=stamps), "f").lengths.tolist() == [60]


def test_steps_that_are_equally_long_are_the_same() -> None:
    for one, other in (("24h", "D"), ("1D", "24h"), ("60min", "h"), ("MS", "ME"), ("3MS", "QE-DEC"),
                       ("12MS", "YS-JAN"), ("W-MON", "7D"), ("W-SUN", "W-MON"), (2, "2")):  # fmt: skip
        assert same_step(one, other), (one, other)
    for one, other in (("B", "D"), ("h", "D"), ("MS", "QS"), (1, "D"), (1, 2), ("30D", "MS")):
        assert not same_step(one, other), (one, other)
    for wrong in ("fortnight", "0", "-1h", "", None, [1]):
        with pytest.raises(UserError, match="is no step of time; write h"):
            parse_step(wrong)


def stock_days(rows: int = 300) -> pd.DatetimeIndex:
    days = pd.bdate_range("2024-01-01", periods=rows + 8)
    return days.delete([0, 38, 63, 103, 108, 133, 174, 234])  # holidays


def test_stock_days_are_never_forecast_on_a_weekend(tmp_path: Path) -> None:
    stamps = stock_days()
    stamps = stamps[: np.flatnonzero(stamps.day_of_week == 4)[-1] + 1]  # up to a Friday
    wide = pd.DataFrame({"date": stamps, "a": np.sin(np.arange(len(stamps)))})
    model = save_pretrained(NLinear(context_length=24, horizon=6), tmp_path / "model")
    for panel, frame in ((False, wide), (True, long_frame(a=stamps, b=stamps[:200]))):
        notes = {"names": ["a"], "mean": [0.0], "std": [1.0], "step": "B", "panel": panel}
        (model / "preprocessing.json").write_text(json.dumps(notes))
        path, out = tmp_path / "stock.csv", tmp_path / "out.csv"
        for kept in (frame, frame.tail(40)):
            kept.to_csv(path, index=False)
            words = [str(path), "-o", str(out), "--overwrite"]
            assert main(["forecast", "-m", str(model), *words]) == 0
            found = pd.read_csv(out)["ds" if panel else "date"]
            assert (pd.to_datetime(found).dt.day_of_week < 5).all()
    # A week alone looks like days of any kind; the model knows which they are.
    five = wide.tail(5)
    assert read_table(write(tmp_path, five)).step == "D"
    assert read_table(write(tmp_path, five), usual="B").step == "B"
    assert read_table(write(tmp_path, five), usual="h").step == "D"


def write(tmp_path: Path, frame: pd.DataFrame) -> Path:
    frame.to_csv(tmp_path / "f.csv", index=False)
    return tmp_path / "f.csv"


def test_odd_rows_of_one_series_do_not_spoil_the_others() -> None:
    days = pd.date_range("2024-01-01", periods=60)
    sparse = pd.date_range("2024-01-01", periods=3, freq="2D")
    panel = panel_of(long_frame(odd=sparse, a=days, b=days), "f")
    assert (panel.step, panel.lengths.tolist()) == ("D", [5, 60, 60])
    shifted = pd.DatetimeIndex(["2024-01-01 00:17", "2024-01-03 00:17", "2024-01-04 09:00"])
    frame = long_frame(odd=shifted - pd.Timedelta(days=5), a=days, b=days)
    with pytest.raises(
        InputError, match=r"series odd: 2023-12-27 00:17:00 \(and 2 more\) is not on"
    ):
        panel_of(frame, "f")
    invalid = InvalidItems("skip", "series")
    assert panel_of(frame, "f", invalid=invalid).names == ("a", "b")
    weekend = long_frame(odd=pd.date_range("2024-01-06", periods=3), a=stock_days(), b=stock_days())
    assert panel_of(weekend, "f", invalid=InvalidItems("skip", "series")).names == ("a", "b")


def test_a_given_step_is_taken_everywhere(tmp_path: Path, capsys) -> None:
    stamps = pd.date_range("2024-01-01", periods=200, freq="h")
    frame = pd.DataFrame({"date": stamps, "a": np.sin(np.arange(200.0))}).drop(index=[7, 8, 90])
    path = write(tmp_path, frame)
    with pytest.raises(
        InputError, match=r"row 9 .* is 0 days 03:00:00 after .* step is 0 days 01:00:00"
    ):
        read_table(path)
    table = read_table(path, freq="60min")
    assert np.flatnonzero(np.isnan(table.values[:, 0])).tolist() == [7, 8, 90]
    sizes = {"context_length": 24, "horizon": 6}
    data = ForecastingData(path=str(path), freq="h", **sizes)
    data.setup()
    assert data.table is not None
    assert len(data.table.stamps) == 200
    torch.manual_seed(0)
    model = save_pretrained(NLinear(**sizes), tmp_path / "model")
    words = ["forecast", "-m", str(model), str(path), "-o", str(tmp_path / "o.csv"), "--freq"]
    assert main([*words, "h"]) == 0
    assert main([*words, "never", "--overwrite"]) == 2
    assert "freq 'never' is no step of time" in capsys.readouterr().err
    assert (
        main(["backtest", str(path), "--freq", "h", "--horizon", "6", "--context-length", "24"])
        == 0
    )
    days = long_frame(a=pd.bdate_range("2024-01-01", periods=5)).merge(
        long_frame(a=pd.bdate_range("2024-01-01", periods=200)), how="right"
    )
    panels = PanelData(path=str(write(tmp_path, days)), freq="D", **sizes)
    panels.setup()
    assert panels.panel is not None
    assert panels.panel.step == "D"
    with pytest.raises(InputError, match="its stamps are numbers, the step is h"):
        read_table(write(tmp_path, pd.DataFrame({"n": range(9), "a": range(9)})), freq="h")


def test_a_stamp_in_another_century_makes_no_endless_clock() -> None:
    seconds = pd.date_range("2024-01-01", periods=50, freq="s")
    frame = long_frame(a=seconds, b=pd.DatetimeIndex(["1924-01-01", "1924-01-02"]))
    with pytest.raises(InputError, match="steps of s; a stamp is far from the others"):
        panel_of(frame, "f")
