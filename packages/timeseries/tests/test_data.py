"""Files, time, borders, scaling and windows."""

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from headway.core.errors import InputError, UserError
from headway.timeseries.data import ForecastingData, Scaler, read_table, write_table
from headway.timeseries.data.borders import find_borders
from headway.timeseries.data.clock import calendar_marks, following
from headway.timeseries.data.steps import infer_step


def data(path: Path, **options) -> ForecastingData:
    module = ForecastingData(path=str(path), **{"context_length": 12, "horizon": 6, **options})
    module.setup()
    return module


def test_wide_and_long_hold_the_same_series(make_csv) -> None:
    wide = read_table(make_csv("wide.csv", holes=[(3, "b")]))
    long = read_table(make_csv("long.csv", holes=[(3, "b")], long=True))
    assert (wide.form, long.form) == ("wide", "long")
    assert wide.names == long.names == ("a", "b", "c")
    assert wide.step == long.step == "h"
    assert np.isnan(wide.values[3, 1])
    np.testing.assert_array_equal(wide.values, long.values)
    assert (wide.stamps == long.stamps).all()


@pytest.mark.parametrize("long", [False, True])
def test_what_is_written_reads_back(make_csv, tmp_path: Path, long: bool) -> None:
    table = read_table(make_csv(rows=40, long=long))
    future = following(table.stamps, table.step, 3)
    values = np.arange(9.0).reshape(3, 3)
    write_table(tmp_path / "out.csv", table, future, values)
    again = read_table(tmp_path / "out.csv")
    assert (again.form, again.names) == (table.form, table.names)
    assert again.columns == table.columns
    assert (again.stamps == future).all()
    np.testing.assert_array_equal(again.values, values)


def edited(path: Path, edit) -> Path:
    lines = path.read_text().splitlines()
    path.write_text("\n".join(edit(lines)) + "\n")
    return path


BROKEN = {
    "a repeated row": (lambda x: [*x[:5], x[4], *x[5:]], "row 6 .* is the same stamp as row 5"),
    "a row that is missing": (lambda x: [*x[:5], *x[6:]], "row 6 .* is 0 days 02:00:00 after"),
    "rows out of order": (lambda x: [*x[:5], x[6], x[5], *x[7:]], "row 6"),
    "a word": (
        lambda x: [*x[:5], x[5].replace(x[5].split(",")[1], "x")],
        "row 6: 'x' in column 'a'",
    ),
    "a bad stamp": (lambda x: [*x[:3], "yesterday,1,2,3"], "row 4: 'yesterday' in column 'date'"),
    "no stamp": (lambda x: [*x[:3], ",1,2,3"], "row 4 has no stamp"),
    "one column": (lambda x: [line.split(",")[0] for line in x], "has the columns"),
    "one row": (lambda x: x[:2], "has 1 rows"),
    "infinity": (lambda x: [*x[:3], "2024-01-01 02:00,inf,2,3"], "row 4: 'inf'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_named_with_its_row(case: str, make_csv) -> None:
    edit, message = BROKEN[case]
    path = edited(make_csv(rows=30), edit)
    with pytest.raises(InputError, match=message) as caught:
        read_table(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_long_file_has_one_value_for_a_moment(make_csv) -> None:
    path = edited(make_csv(rows=30, long=True), lambda x: [*x[:5], x[4], *x[5:]])
    with pytest.raises(InputError, match="row 6: a has a second value for 2024-01-01 03:00:00"):
        read_table(path)
    with pytest.raises(InputError, match="there is no such CSV or parquet file"):
        read_table(path.with_name("other.csv"))


@pytest.mark.parametrize("step", ["h", "D", "MS", "15min", "W-SUN", "B"])
def test_any_regular_calendar_goes_on(step: str) -> None:
    stamps = pd.date_range("2024-01-31", periods=30, freq=step)
    found = infer_step(stamps[:20], [0, 20], "file")
    assert (following(stamps[:20], found, 10) == stamps[20:]).all()
    numbers = pd.Index(range(0, 60, 3))
    assert list(following(numbers, infer_step(numbers, [0, len(numbers)], "file"), 2)) == [60, 63]


def test_calendar_marks_are_those_of_the_informer() -> None:
    stamps = pd.DatetimeIndex(["2024-01-01 00:00", "2024-01-01 01:00", "2024-01-01 02:00"])
    # Hour of day, day of week (a Monday), day of month, day of year.
    assert calendar_marks(stamps)[1].tolist() == pytest.approx([1 / 23 - 0.5, -0.5, -0.5, -0.5])
    assert calendar_marks(pd.date_range("2024-12-31", periods=2, freq="D"))[0].tolist() == (
        pytest.approx([1 / 6 - 0.5, 0.5, 0.5])
    )
    assert calendar_marks(pd.date_range("2024-01-01", periods=3, freq="MS"))[2].tolist() == (
        pytest.approx([2 / 11 - 0.5])
    )
    assert calendar_marks(pd.Index([0, 1, 2])).shape == (3, 0)


def test_borders() -> None:
    hour = find_borders(17420, "ett_hour")
    assert [hour.part(name, 336) for name in ("train", "val", "test")] == [
        (0, 8640), (8304, 11520), (11184, 14400),
    ]  # fmt: skip
    shares = find_borders(966, (0.7, 0.1, 0.2))
    assert (shares.train, shares.val, shares.test) == (676, 773, 966)
    with pytest.raises(UserError, match="ett_hour need 14400 rows, the file has 100"):
        find_borders(100, "ett_hour")
    with pytest.raises(UserError, match="three shares that add to 1"):
        find_borders(100, (0.7, 0.2))


def test_the_scaler_sees_the_training_part_alone(make_csv) -> None:
    module = data(make_csv(holes=[(5, "a")]))
    train = read_table(module.path).values[:140]
    np.testing.assert_allclose(module.scaler.mean, np.nanmean(train, axis=0))
    np.testing.assert_allclose(module.scaler.std, np.nanstd(train, axis=0))
    notes = json.loads(json.dumps(module.preprocessing()))
    assert notes["names"] == ["a", "b", "c"]
    assert (notes["step"], notes["context_length"], notes["horizon"]) == ("h", 12, 6)
    values = np.random.default_rng(0).normal(size=(5, 3))
    again = Scaler.fit(values[:, :2], ("c", "new")).known(notes)
    np.testing.assert_allclose(again.mean, [module.scaler.mean[2], values[:, 1].mean()])
    np.testing.assert_allclose(again.inverse(again.forward(values[:, :2])), values[:, :2])


def test_a_constant_series_is_centred_and_said(caplog: pytest.LogCaptureFixture) -> None:
    values = np.stack([np.full(50, 0.1), np.arange(50.0)], axis=1)
    with caplog.at_level(logging.WARNING):
        scaler = Scaler.fit(values, ("still", "moving"))
    assert "1 series never change in the training part (still)" in caplog.text
    np.testing.assert_allclose(scaler.forward(values)[:, 0], 0, atol=1e-12)


def test_every_window_of_a_part_is_there_once(make_csv) -> None:
    module = data(make_csv(), eval_batch_size=7)
    scaled = module.scaler.forward(read_table(module.path).values)
    assert len(module.train_set) == 140 - 18 + 1
    assert len(module.test_set) == 40 - 6 + 1
    batches = list(module.test_dataloader())
    assert sum(len(batch["x"]) for batch in batches) == 35
    assert set(batches[0]) == {"x", "y", "marks", "future_marks", "centre", "scale"}
    last = batches[-1]
    np.testing.assert_allclose(last["y"][-1], scaled[194:200], rtol=1e-5)
    np.testing.assert_allclose(last["x"][-1], scaled[182:194], rtol=1e-5)
    # The first test window reads what lies before the part.
    np.testing.assert_allclose(batches[0]["y"][0], scaled[160:166], rtol=1e-5)


def test_missing_values_come_as_masks(make_csv) -> None:
    module = data(make_csv(holes=[(5, "a"), (13, "b")]), marks=False, shuffle=False)
    batch = module.train_set.batch([0, 1])
    assert set(batch) == {"x", "y", "mask", "y_mask", "centre", "scale"}
    assert torch.nonzero(~batch["mask"]).tolist() == [[0, 5, 0], [1, 4, 0], [1, 12 - 0, 1]][:2]
    assert torch.nonzero(~batch["y_mask"]).tolist() == [[0, 1, 1], [1, 0, 1]]
    assert batch["x"].isfinite().all()


def test_too_short_a_part_names_the_lengths(make_csv) -> None:
    with pytest.raises(
        UserError, match=r"the val part has 9 rows.*context_length 6 \+ horizon 6 = 12"
    ):
        data(make_csv(rows=30), context_length=6)
    with pytest.raises(UserError, match="has no series 'x'; it has a, b, c"):
        data(make_csv(), columns=["x"])
