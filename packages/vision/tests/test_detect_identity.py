"""What the user calls pictures and classes comes back in the answers of headway detect."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from headway.core.cli.main import main

Make = Callable[..., Path]


def detect(model: Path, pictures: Path, out: Path, *words: str) -> int:
    command = ["detect", "-m", str(model), str(pictures), "-o", str(out), "--device", "cpu"]
    return main([*command, "--threshold", "0", *words])


def change(file: Path, **categories: Any) -> None:
    """Gives the categories of a ground truth other ids, and its images texts as ids."""
    content = json.loads(file.read_text())
    names = {entry["id"]: entry["name"] for entry in content["categories"]}
    for entry in content["annotations"]:
        entry["category_id"] = categories.get(names.get(entry["category_id"]), 1)
        entry["image_id"] = str(entry["image_id"])
    for image in content["images"]:
        image["id"] = str(image["id"])
    content["categories"] = [{"id": number, "name": name} for name, number in categories.items()]
    file.write_text(json.dumps(content))


def test_ids_are_those_of_the_ground_truth_by_name(
    tiny_detr: Path, make_coco: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_coco(3)
    truth = root / "boxes.json"
    # Blue before red, other ids than in training, and those of the images are texts with digits.
    change(truth, blue=3, red=11)
    assert detect(tiny_detr, root, tmp_path / "out", "--annotations", str(truth)) == 0
    rows = list(csv.DictReader((tmp_path / "out" / "detections.csv").open()))
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert len(rows) == len(results) == 15
    ids = {"red": 11, "blue": 3}
    for row, result in zip(rows, results, strict=True):
        assert result["category_id"] == ids[row["label"]]
        assert result["image_id"] == str(100 + int(Path(row["file"]).stem))
    ground = COCO(str(truth))
    evaluation = COCOeval(ground, ground.loadRes(str(tmp_path / "out" / "results.json")), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[8] >= 0
    # The other file is whole by itself, and has the names that the ground truth has.
    whole = COCO(str(tmp_path / "out" / "detections.json"))
    assert {image["file_name"] for image in whole.loadImgs(whole.getImgIds())} == {
        image["file_name"] for image in ground.loadImgs(ground.getImgIds())
    }
    assert {entry["name"]: entry["id"] for entry in whole.loadCats(whole.getCatIds())} == ids
    assert not caplog.records


def test_classes_that_the_ground_truth_lacks_get_ids_of_their_own(
    tiny_detr: Path, make_coco: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys
) -> None:
    root = make_coco(2)
    truth = root / "boxes.json"
    # What training called blue is another category here.
    change(truth, red=90, green=2)
    assert detect(tiny_detr, root, tmp_path / "out", "--annotations", str(truth)) == 0
    found = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert found["categories"] == [{"id": 90, "name": "red"}, {"id": 91, "name": "blue"}]
    assert "has no category blue" in caplog.text
    change(truth, green=2)
    assert detect(tiny_detr, root, tmp_path / "none", "--annotations", str(truth)) == 2
    assert "has none of the model's classes (red, blue), but green" in capsys.readouterr().err
