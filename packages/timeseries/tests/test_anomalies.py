"""Scores of steps by hand, the task that flags them, and ``headway detect-anomalies``."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from headway.core.cli.main import main
from headway.timeseries.metrics.anomalies import (
    f1,
    moving_zscore,
    nearest_window,
    point_adjusted,
    ranking,
)
from headway.timeseries.metrics.step_scores import StepScores


def flags(text: str) -> np.ndarray:
    return np.array([letter == "x" for letter in text])


def test_areas_are_those_of_a_hand_made_ranking() -> None:
    scores, labels = np.array([1.0, 2, 3, 4, 5]), flags("..x.x")
    # Of six pairs one is in the wrong order; precision 1 at the first hit, 2/3 at the second.
    assert ranking(scores, labels) == pytest.approx((5 / 6, (1 + 2 / 3) / 2))
    # Scores far outside 0..1, which a sigmoid would make equal.
    assert ranking(1e3 + 1e3 * scores, labels) == pytest.approx((5 / 6, (1 + 2 / 3) / 2))
    assert ranking(np.ones(5), labels) == pytest.approx((0.5, 0.4))
    assert all(np.isnan(ranking(scores, flags("....."))))


def test_point_adjustment_credits_whole_stretches() -> None:
    labels, flagged = flags(".xxx..xx.xx"), flags("x.x......x.")
    assert f1(flagged, labels) == pytest.approx(2 * 2 / (3 + 7))
    adjusted = point_adjusted(flagged, labels)
    assert np.array_equal(adjusted, flags("xxxx.....xx"))
    assert f1(adjusted, labels) == pytest.approx(2 * 5 / (6 + 7))
    assert np.array_equal(point_adjusted(flags("." * 11), labels), flags("." * 11))


def test_point_adjustment_flatters_flags_that_know_nothing() -> None:
    labels = np.zeros(2000, dtype=bool)
    labels[500:700] = labels[1200:1400] = True
    flagged = np.random.default_rng(0).random(2000) < 0.05
    assert f1(flagged, labels) < 0.15
    assert f1(point_adjusted(flagged, labels), labels) > 0.85


def test_simple_scores_are_those_of_loops() -> None:
    random = np.random.default_rng(0)
    values = 1e4 + random.normal(size=(40, 2))
    values[20, 0] = np.nan
    found = moving_zscore(values, 8)
    for t in range(8, 40):
        past = values[t - 8 : t]
        distance = np.abs(values[t] - np.nanmean(past, axis=0)) / np.nanstd(past, axis=0)
        assert found[t] == pytest.approx(np.nanmean(distance), rel=1e-5)
    assert (found[:8] == 0).all()
    train, test = random.normal(size=(30, 2)), random.normal(size=(25, 2))
    test[5:16] = train[12:23]
    distances = np.array(
        [
            min(((test[i : i + 6] - train[k : k + 6]) ** 2).sum() for k in range(25))
            for i in range(20)
        ]
    )
    expected = [distances[max(0, t - 5) : min(t, 19) + 1].mean() for t in range(25)]
    np.testing.assert_allclose(nearest_window(train, test, 6), expected, rtol=1e-9, atol=1e-9)
    assert nearest_window(train, test, 6)[10] == pytest.approx(0, abs=1e-12)


def test_a_step_has_the_mean_over_its_windows_and_known_values() -> None:
    score = StepScores(5)
    error = torch.tensor([[1.0, 2], [3, 4], [5, 6]])[None].repeat(2, 1, 1)
    error[1] += 1
    mask = torch.ones(2, 3, 2, dtype=torch.bool)
    mask[0, 1, 1] = False
    error[0, 1, 1] = torch.nan
    score.update(error, torch.tensor([0, 1]), mask)
    found = score.compute()
    expected = [5 / 2, (9 + 4 + 9) / 3, (25 + 36 + 16 + 25) / 4, (36 + 49) / 2]
    torch.testing.assert_close(found[:4], torch.tensor(expected, dtype=torch.float64))
    assert found[4].isnan()


def series(rows: int, broken: range | None, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    time = np.arange(rows)
    values = np.sin(2 * np.pi * time / 12) + random.normal(0, 0.05, rows)
    label = np.zeros(rows, dtype=int)
    if broken is not None:
        values[list(broken)] = values[broken.start]  # it gets stuck: no value is unusual by itself
        label[list(broken)] = 1
    other = np.cos(2 * np.pi * time / 12) + random.normal(0, 0.05, rows)
    return pd.DataFrame({"step": time, "a": 50 + 9 * values, "b": other, "bad": label})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Path:
    """A trained run in ``run``, and the files that it was trained and tested on."""
    folder = tmp_path_factory.mktemp("anomalies")
    series(500, None, 0).to_csv(folder / "train.csv", index=False)
    series(400, range(201, 216), 1).to_csv(folder / "test.csv", index=False)
    words = ["--data.path", str(folder / "train.csv"), "--data.test", str(folder / "test.csv")]
    words += ["--data.labels", "bad", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "8"]
    words += ["--model.backbone.context_length", "24", "--model.backbone.horizon", "24"]
    words += ["--model.optimizer.lr", "0.005", "--model.backbone.patch", "6"]
    words += ["--model.backbone.stride", "6", "--model.backbone.dim", "4"]
    words += ["--model.backbone.heads", "2", "--runs", str(folder / "runs")]
    words += ["--seed_everything", str(seed)]
    assert main(["fit", "-c", "timeseries/anomalies_ucr", *words]) == 0
    (folder / "runs" / "timeseries" / "anomalies_ucr" / "1").rename(folder / "run")
    return folder


@pytest.mark.learns
def test_a_stuck_sensor_is_found_and_the_verb_says_the_same(
    folder: Path, tmp_path: Path, capsys, measured
) -> None:
    run = folder / "run"
    capsys.readouterr()
    assert main(["test", "-m", str(run), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    measured("ranked", scores["test_roc_auc"], above=0.95)
    measured("by deviation", scores["test_roc_auc_zscore"], below=0.95)
    assert (run / "pictures" / "test_anomalies.png").stat().st_size > 10_000
    notes = json.loads((run / "model" / "preprocessing.json").read_text())
    assert notes["names"] == ["a", "b"]
    assert notes["labels"] == "bad"
    out, plot = tmp_path / "scores.csv", tmp_path / "scores.png"
    path = folder / "test.csv"
    detect = ["detect-anomalies", "-m", str(run), "-o", str(out)]
    assert main([*detect, str(path), "--plot", str(plot)]) == 0
    assert f"above {notes['threshold']:.6g}" in capsys.readouterr().err
    assert plot.stat().st_size > 10_000
    frame = pd.read_csv(out)
    assert list(frame.columns) == ["step", "score", "flagged"]
    assert np.array_equal(frame.flagged, frame.score > notes["threshold"])
    truth = pd.read_csv(path).bad.to_numpy() == 1
    assert ranking(frame.score.to_numpy(), truth).roc_auc == pytest.approx(scores["test_roc_auc"])
    assert f1(frame.flagged.to_numpy() == 1, truth) == pytest.approx(scores["test_f1"])
    measured("score", frame.score[truth].mean() / frame.score[~truth].mean(), above=5)
    # Missing values score nowhere, and what stands in their place matters to nothing.
    holes = pd.read_csv(path).drop(columns="bad").astype(float)
    holes.loc[300, ["a", "b"]] = np.nan
    holes.loc[310, "a"] = np.nan
    holes["step"] = holes.step.astype(int)
    holes.to_csv(tmp_path / "holes.csv", index=False)
    words = [str(tmp_path / "holes.csv"), "--overwrite", "--threshold", "0.5", "--json"]
    assert main([*detect, *words]) == 0
    assert json.loads(capsys.readouterr().out)["scored"] == 399
    assert np.flatnonzero(pd.read_csv(out).score.isna()).tolist() == [300]


@pytest.mark.learns
def test_bad_files_are_named(folder: Path, tmp_path: Path, capsys) -> None:
    detect = ["detect-anomalies", "-m", str(folder / "run"), "-o", str(tmp_path / "o.csv")]
    frame = series(60, None, 0)
    frame["bad"] = frame.bad.astype(object)
    frame.loc[4, "bad"] = 7
    frame.to_csv(tmp_path / "seven.csv", index=False)
    assert main([*detect, str(tmp_path / "seven.csv")]) == 2
    assert "column 'bad' has 7 at 4; a label is 0 or 1" in capsys.readouterr().err
    series(20, None, 0).to_csv(tmp_path / "short.csv", index=False)
    assert main([*detect, str(tmp_path / "short.csv")]) == 2
    assert "has 20 rows, the model reads 24" in capsys.readouterr().err
    dead = series(60, None, 0).astype({"b": object})
    dead["b"] = ""
    dead.to_csv(tmp_path / "dead.csv", index=False)
    assert main([*detect, str(tmp_path / "dead.csv")]) == 2
    assert "series b: has no value" in capsys.readouterr().err
    assert main([*detect, str(tmp_path / "dead.csv"), "--on-invalid", "skip"]) == 0
    assert pd.read_csv(tmp_path / "o.csv").score.notna().all()
    words = ["--data.path", str(folder / "train.csv"), "--data.labels", "wrong"]
    fit = ["fit", "-c", "timeseries/anomalies_ucr", *words, "--data.borders", "0.6 0.2 0.2"]
    assert main([*fit, "--runs", str(tmp_path)]) == 2
    assert "no column 'wrong' of labels" in capsys.readouterr().err
