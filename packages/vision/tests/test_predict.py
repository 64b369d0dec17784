import argparse
import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.weights import read_preprocessing
from headway.vision.verbs import predict as verb
from headway.vision.verbs.loading import as_classifier

Make = Callable[..., Path]
PREPROCESSING = {"classes": ["dark", "bright", "red"], "input_size": [3, 16, 16], "crop_pct": 1.0}


class Brightness(nn.Module):
    """Logits from the mean of a picture."""

    num_classes = 3

    def forward(self, images: Tensor) -> Tensor:
        mean = images.mean((1, 2, 3))
        return torch.stack([-mean, mean, torch.zeros_like(mean)], dim=-1)


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch) -> Callable[..., argparse.Namespace]:
    monkeypatch.setattr(
        verb,
        "classifier_from",
        lambda source, device: as_classifier(Brightness(), PREPROCESSING, device),
    )

    def make(*words: str | Path, **options: object) -> argparse.Namespace:
        parser = argparse.ArgumentParser()
        verb.configure(parser)
        found = parser.parse_args([str(word) for word in words])
        shared = {
            "checkpoint": "run",
            "out": str(tmp_path / "out" / "predictions.csv"),
            "overwrite": False,
            "on_invalid": "raise",
            "device": "cpu",
            "json": False,
        }
        vars(found).update({**shared, **options})
        return found

    return make


def rows(tmp_path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((tmp_path / "out" / "predictions.csv").open()))


def test_every_picture_gets_a_row_in_order(make_folder: Make, tmp_path: Path, arguments) -> None:
    folder = make_folder(count=3)
    (folder / "notes.txt").write_text("x")
    assert verb.run(arguments(folder, "--batch-size", 4)) == 0
    found = rows(tmp_path)
    assert [row["file"] for row in found] == [
        f"{folder}/{name}/{number:02}.jpg" for name in ("cat", "dog", "fox") for number in range(3)
    ]
    for row in found:
        listed = [float(row[f"probability{k}"]) for k in ("", "_2", "_3")]
        assert sum(listed) == pytest.approx(1, abs=1e-5)
        assert listed == sorted(listed, reverse=True)
        assert {row[f"prediction{k}"] for k in ("", "_2", "_3")} == set(PREPROCESSING["classes"])
        assert row["prediction_4"] == ""


def test_batches_workers_and_archives_change_nothing(
    make_folder: Make, tmp_path: Path, arguments, pack: Make
) -> None:
    folder = make_folder(count=3)
    contents = []
    for words in (
        [folder],
        [folder, "--batch-size", 2],
        [folder, "--workers", 2],
        [pack(folder, tmp_path / "a.tar.gz")],
        [folder / "cat", *sorted((folder / "dog").iterdir()), folder / "fox"],
    ):
        verb.run(arguments(*words, overwrite=True))
        contents.append([(row["prediction"], row["probability"]) for row in rows(tmp_path)])
    assert all(content == contents[0] for content in contents)


@pytest.mark.parametrize(("policy", "expected"), [("skip", 8), ("keep", 9)])
def test_a_broken_picture_is_counted_and_named(
    make_folder: Make, tmp_path: Path, arguments, truncate, capsys, policy: str, expected: int
) -> None:
    folder = make_folder(count=3)
    broken = truncate(folder / "dog" / "01.jpg")
    assert verb.run(arguments(folder, on_invalid=policy)) == 0
    found = rows(tmp_path)
    assert len(found) == expected
    said = capsys.readouterr().err
    assert f"not read: {broken}: broken picture" in said
    assert "8 predictions written" in said
    assert "1 pictures not read" in said
    if policy == "keep":
        assert found[4]["file"] == str(broken)
        assert "broken picture" in found[4]["error"]
        assert [row["error"] for row in found].count("") == 8


def test_by_default_a_broken_picture_stops_and_nothing_is_written(
    make_folder: Make, tmp_path: Path, arguments, truncate
) -> None:
    folder = make_folder(count=3)
    truncate(folder / "dog" / "01.jpg")
    with pytest.raises(UserError, match=r"dog/01\.jpg: broken picture .* --on-invalid skip"):
        verb.run(arguments(folder))
    assert not list((tmp_path / "out").glob("*"))


def test_nothing_readable_fails(tmp_path: Path, arguments) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    assert verb.run(arguments(tmp_path / "a.jpg", on_invalid="skip")) == 1


def test_json_is_one_object(make_folder: Make, arguments, truncate, capsys) -> None:
    folder = make_folder(count=2)
    truncate(folder / "cat" / "00.jpg")
    verb.run(arguments(folder, on_invalid="skip", json=True))
    found = json.loads(capsys.readouterr().out)
    assert (found["predicted"], len(found["invalid"])) == (5, 1)


def test_without_out_the_table_goes_to_stdout(make_folder: Make, arguments, capsys) -> None:
    verb.run(arguments(make_folder(count=1), "--top", 1, out=None))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "file,prediction,probability,error"
    assert len(lines) == 4


def test_wrong_use_is_refused_before_any_work(make_folder: Make, tmp_path: Path, arguments) -> None:
    folder = make_folder(count=1)
    with pytest.raises(UserError, match="predict with what"):
        verb.run(arguments(folder, checkpoint=None))
    with pytest.raises(UserError, match="none does not exist"):
        verb.run(arguments(tmp_path / "none", overwrite=True))
    (tmp_path / "void").mkdir()
    with pytest.raises(UserError, match="no pictures in"):
        verb.run(arguments(tmp_path / "void", overwrite=True))
    with pytest.raises(UserError, match="--top 0 is below 1"):
        verb.run(arguments(folder, "--top", 0, overwrite=True))


def test_preprocessing_lies_beside_the_model(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "model").mkdir(parents=True)
    (run / "checkpoints").mkdir()
    (run / "model" / "preprocessing.json").write_text('{"classes": ["a", "b"]}')
    for source in (run, run / "model", run / "checkpoints" / "best.ckpt"):
        assert read_preprocessing(source)["classes"] == ["a", "b"]
    assert read_preprocessing(tmp_path) == {}
    (run / "model" / "preprocessing.json").write_text("{")
    with pytest.raises(UserError, match="is not JSON"):
        read_preprocessing(run)


def test_classes_and_sizes_fall_back_to_the_model() -> None:
    model = Brightness()
    model.pretrained_cfg = {"input_size": (3, 32, 32), "crop_pct": 0.9}  # pyright: ignore
    classifier = as_classifier(model, {})
    assert classifier.name(2) == "2"
    assert classifier.preprocessing.crop_pct == 0.9
    wrong = as_classifier(model, {"classes": ["a"]})
    with pytest.raises(UserError, match="do not belong together"):
        wrong.probabilities(torch.zeros(1, 3, 8, 8))
