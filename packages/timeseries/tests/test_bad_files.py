"""Damaged and unusual files: read rightly, or one line that says what is wrong."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from panels import series
from wide_tables import panel

from headway.core.cli.main import main
from headway.core.errors import InputError, UserError
from headway.core.training.invalid import InvalidItems
from headway.core.weights import save_pretrained
from headway.timeseries.data import panel_of, read_entries, read_table
from headway.timeseries.data.frames import read_frame
from headway.timeseries.data.gluonts import panel_of_entries
from headway.timeseries.data.ts_file import read_ts
from headway.timeseries.models import Informer, NLinear
from headway.timeseries.prediction.notes import check_notes

TEXT = panel(50).to_csv(index=False)


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        TEXT.replace(",", ";").encode(),
        TEXT.replace(",", "\t").encode(),
        TEXT.replace(",", "|").encode(),
        TEXT.replace(",", ";").replace(".", ",").encode(),
        TEXT.replace("\n", "\r\n").encode(),
    ],
)
def test_tables_as_other_programs_write_them(content: bytes, tmp_path: Path) -> None:
    path, plain = tmp_path / "f.csv", tmp_path / "plain.csv"
    path.write_bytes(content)
    plain.write_text(TEXT)
    expected, found = read_table(plain), read_table(path)
    assert found.names == expected.names
    assert found.columns == expected.columns
    np.testing.assert_allclose(found.values, expected.values)


WRONG = {
    "Latin-1": (
        TEXT.replace("a,", "é,", 1).encode("latin-1"),
        r"no UTF-8 text \(byte 0xe9\); save",
    ),
    "NUL": (TEXT.encode().replace(b"\n", b"\0\n", 1), "is no text: it holds NUL bytes"),
    "infinity": (
        b"date,a\n2024-01-01,1\n2024-01-02,inf\n",
        "row 3: 'inf' in column 'a' is no number",
    ),
    "wide row": (b"date,a\n2024-01-01,1,2\n2024-01-02,1,2\n", "more fields than the header"),
    "ragged": (b"date,a\n2024-01-01,1\n2024-01-02,1,2\n", "is no CSV file"),
    "empty": (b"", "is no CSV file"),
    "huge stamps": (b"n,a\n1,1\n9223372036854775807,2\n", r"above 2\*\*62, which are no stamps"),
    "far": (b"n,a\n1,1\n2,2\n4000000000000,2\n", "far from the others"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_csv_that_is_none(what: str, tmp_path: Path) -> None:
    content, said = WRONG[what]
    path = tmp_path / "f.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as error:
        read_table(path)
    assert "\n" not in str(error.value)
    path.write_bytes(b"date,a\n")
    with pytest.raises(InputError, match="has no rows below its header"):
        read_table(path, freq="h")


def test_damaged_parquet_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.parquet"
    panel(300).to_parquet(path)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for turn in range(120):
        content = bytearray(whole)
        if turn % 3 == 0:
            content = content[: int(random.integers(len(whole)))]
        else:
            # The end holds the description of the columns.
            for place in random.integers(max(0, len(whole) - 1500), len(whole), size=4):
                content[place] = int(random.integers(256))
        path.write_bytes(bytes(content))
        try:
            read_table(path)
        except UserError as error:
            refused += "\n" not in str(error)
    assert refused > 60
    frame = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=3), "a": [[1], [2], [3]]})
    for values in (frame.a, frame.ds, pd.Series([b"x", b"y", b"z"])):
        frame.assign(a=values).to_parquet(path)
        with pytest.raises(InputError, match="no number"):
            read_table(path)
    long = pd.DataFrame({"unique_id": [[1], [2], [3]], "ds": frame.ds, "y": 1.0})
    long.to_parquet(path)
    with pytest.raises(InputError, match="column 'unique_id' holds list.* no numbers or words"):
        read_frame(path)
    monkeypatch.setattr("headway.timeseries.data.frames.MAX_UNPACKED", 2**16)
    pd.DataFrame({"ds": np.zeros(10**6, np.int8), "y": np.zeros(10**6, np.int8)}).to_parquet(path)
    with pytest.raises(InputError, match="has 1,000,000 rows and unpacks to over"):
        read_frame(path)
    monkeypatch.undo()
    frame.assign(a=pd.array([1, None, 3], dtype="Int64")).to_parquet(path)
    assert np.isnan(read_table(path).values[1, 0])


def test_other_texts(tmp_path: Path) -> None:
    path = tmp_path / "f.ts"
    good = "@problemName x\n@univariate true\n@classLabel true a b\n@data\n1,2,3:a\n2,3,4:b\n"
    path.write_bytes(good.encode("utf-8-sig"))
    assert read_ts(path).classes == ("a", "b")
    for content, said in (
        (good.replace("a b", "a é").encode("latin-1"), "is not UTF-8"),
        (good.encode() + b"\0", "NUL"),
        (good.replace("1,2", "inf,2").encode(), "infinite"),
        (b"@dimensions \xc2\xb2\n@data\n1:a", "number of at least 1"),
        (b"@dimensions " + b"9" * 5000 + b"\n@data\n1:a", "number of at least 1"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=said):
            read_ts(path)
    lines = tmp_path / "f.jsonl"
    entry = {"start": "2024-01-01", "target": [1, 2, 3], "item_id": "a"}
    lines.write_bytes(json.dumps(entry).encode("utf-8-sig"))
    assert len(read_entries(lines)) == 1
    for content, said in (
        (b"[" * 100_000, "is no JSON"),
        (b'{"a": "\xe9"}', "UTF-8"),
        (b"[1]", "object"),
    ):
        lines.write_bytes(content)
        with pytest.raises(InputError, match=said):
            read_entries(lines)
    for wrong in (
        {"target": [1, float("inf")]}, {"target": {"a": 1}}, {"start": [1]}, {"start": None},
        {"feat_static_cat": ["x"]}, {"feat_static_cat": 3}, {"feat_dynamic_real": [[1, 2, 3], [1]]},
    ):  # fmt: skip
        with pytest.raises(UserError):
            panel_of_entries([{**entry, **wrong}], "f", freq="D", invalid=InvalidItems("skip", "x"))


def test_notes_of_wrong_types_are_refused_by_key(tmp_path: Path, capsys) -> None:
    radii = [[1.0, 2.0]]
    notes = {
        "names": ["a"], "mean": [0.0], "std": [1.0], "step": "h", "context_length": 24, "horizon": 6,
        "marks": False, "panel": True, "targets": None, "labels": None, "threshold": 1.0,
        "covariates": {"columns": {"static": ["k"]}, "words": {"k": ["x"]},
                       "static": {"names": ["k=x"], "mean": [0.5], "std": [0.5]}},
        "conformal": {"windows": 3, "percents": [80], "all": radii, "series": {"0": radii}},
    }  # fmt: skip
    check_notes(notes, "m")
    for key in notes:
        for wrong in ([1, "a", None], {"a": [{}]}, -1.5, "no such thing", [[float("nan")]]):
            if key in ("labels", "threshold", "names") and wrong in ("no such thing", -1.5):
                continue
            with pytest.raises(UserError, match=f"preprocessing.json of m: {key} is ") as error:
                check_notes({**notes, key: wrong}, "m")
            assert len(str(error.value)) < 250
    covariates: dict = notes["covariates"]
    for wrong in (
        {"std": [0.0]}, {"mean": [0.0, 1.0]}, {"low": [1.0]}, {"covariates": covariates | {"words": ""}},
        {"covariates": {"columns": {"future": ["x"]}}},
    ):  # fmt: skip
        with pytest.raises(UserError, match="preprocessing.json"):
            check_notes({**notes, **wrong}, "m")
    with pytest.raises(UserError, match="is a list"):
        check_notes([], "m")
    model = save_pretrained(NLinear(context_length=24, horizon=6), tmp_path / "model")
    (model / "preprocessing.json").write_text(json.dumps({**notes, "mean": "zero"}))
    panel(50).to_csv(tmp_path / "f.csv", index=False)
    words = ["forecast", "-m", str(model), str(tmp_path / "f.csv"), "-o", str(tmp_path / "o.csv")]
    assert main(words) == 2
    assert "mean is 'zero', expected a list of finite numbers" in capsys.readouterr().err


def test_columns_in_another_order_are_matched_by_name(tmp_path: Path, capsys) -> None:
    torch.manual_seed(0)
    sizes = {"context_length": 24, "horizon": 6}
    model = Informer(**sizes, variates=3, dim=8, depth=1, heads=2, decoder_depth=1, start=12)
    folder = save_pretrained(model, tmp_path / "model")
    frame = panel(200)
    names = [str(name) for name in frame.columns[1:]]
    notes = {"names": names, "mean": [1.0, 2.0, 3.0], "std": [1.0, 2.0, 0.5], "step": "h"}
    (folder / "preprocessing.json").write_text(json.dumps(notes))
    path, out = tmp_path / "f.csv", tmp_path / "o.csv"

    def told(table: pd.DataFrame) -> pd.DataFrame:
        table.to_csv(path, index=False)
        words = [str(path), "-o", str(out), "--overwrite", "--on-invalid", "skip"]
        assert main(["forecast", "-m", str(folder), *words]) == 0
        return pd.read_csv(out)

    def scores(table: pd.DataFrame) -> float:
        table.to_csv(path, index=False)
        capsys.readouterr()
        words = [
            "-m",
            str(folder),
            "--horizon",
            "6",
            "--context-length",
            "24",
            "--simple",
            "--json",
        ]
        assert main(["backtest", str(path), *words]) == 0
        return json.loads(capsys.readouterr().out)["scores"][0]["mse"]

    expected, turned = told(frame), frame[["date", *reversed(names)]]
    found = told(turned)
    assert list(found.columns) == list(turned.columns)
    pd.testing.assert_frame_equal(found[expected.columns], expected)
    more = told(frame.assign(other=1.0)[["date", "other", *reversed(names)]])
    pd.testing.assert_frame_equal(more[expected.columns], expected)
    assert more.other.isna().all()
    assert scores(turned) == pytest.approx(scores(frame), rel=1e-6)
    frame.rename(columns={names[1]: "x"}).to_csv(path, index=False)
    words = ["forecast", "-m", str(folder), str(path), "-o", str(out), "--overwrite"]
    assert main(words) == 2
    assert f"has no series {names[1]}; the model was built for" in capsys.readouterr().err


def test_one_short_series_takes_the_intervals_of_all() -> None:
    frame = pd.concat([series(3, 200), series(1, 40).assign(unique_id="short")])
    assert panel_of(frame, "f").names[-1] == "short"
    from headway.core.training import Adam
    from headway.timeseries import Forecaster

    torch.manual_seed(0)
    model = NLinear(context_length=24, horizon=6)
    found = Forecaster(model, optimizer=Adam(lr=0.01), epochs=1).fit(frame).predict(level=[80])
    assert np.isfinite(found[["y-lo-80", "y-hi-80"]].to_numpy()).all()
    assert (found["y-lo-80"] < found["y-hi-80"]).all()


def test_a_column_that_stands_twice(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("date,a,a\n2024-01-01,1,2\n2024-01-02,1,2\n")
    assert list(read_frame(path).columns) == ["date", "a", "a.1"]


@pytest.mark.parametrize("name", ["f.csv", "f.parquet", "f.csv.gz"])
def test_a_pipe_is_not_waited_for(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="is a pipe"):
        read_frame(tmp_path / name)


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz", "zip"])
def test_packed_tables_are_read_as_plain_ones(ending: str, tmp_path: Path) -> None:
    table = panel(50)
    table.to_csv(tmp_path / f"f.csv.{ending}", index=False, sep=";")
    found = read_table(tmp_path / f"f.csv.{ending}")
    (tmp_path / "f.csv").write_text(TEXT)
    np.testing.assert_allclose(found.values, read_table(tmp_path / "f.csv").values)
