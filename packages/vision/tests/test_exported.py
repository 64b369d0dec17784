"""Verbs take the ONNX file of a model in its place."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from PIL import Image

from headway.core.cli.main import main
from headway.core.weights import save_pretrained
from headway.vision.models import ViT

Make = Callable[..., Path]


def verb(name: str, model: Path, *words: object) -> int:
    return main([name, "-m", str(model), *map(str, words)])


@pytest.mark.parametrize("size", [(), ("--size", 72, 96)], ids=["any size", "one size"])
def test_detect_finds_the_same_objects_in_pictures_of_several_sizes(
    size: tuple[object, ...], tiny_detr: Path, make_coco: Make, tmp_path: Path
) -> None:
    notes = json.loads((tiny_detr / "preprocessing.json").read_text())
    notes.update(shortest=72, longest=96)
    (tiny_detr / "preprocessing.json").write_text(json.dumps(notes))
    root = make_coco(3)
    if not size:
        Image.open(root / "2.png").resize((60, 80)).save(root / "2.png")
    file = tmp_path / "out" / "model.onnx"
    assert verb("export", tiny_detr, "-o", file, *size) == 0
    for model, out in ((tiny_detr, "model"), (file, "graph")):
        assert verb("detect", model, root, "-o", tmp_path / out, "--threshold", 0) == 0
    mine, theirs = (
        json.loads((tmp_path / out / "detections.json").read_text()) for out in ("model", "graph")
    )
    assert mine["images"] == theirs["images"]
    assert mine["categories"] == theirs["categories"]
    pairs = zip(mine["annotations"], theirs["annotations"], strict=True)
    for one, other in pairs:
        assert other["category_id"] == one["category_id"]
        assert other["score"] == pytest.approx(one["score"], abs=1e-4)
        assert other["bbox"] == pytest.approx(one["bbox"], abs=0.05)


def test_pictures_smaller_than_the_graph_takes_are_stretched(
    tiny_detr: Path, make_coco: Make, tmp_path: Path
) -> None:
    file = tmp_path / "model.onnx"
    assert verb("export", tiny_detr, "-o", file) == 0
    # Its model would see them with 32 to 48 pixels, and a graph of free size takes 64 at least.
    assert (
        verb("detect", file, make_coco(2), "-o", tmp_path / "found", "--threshold", 0, "--mirror")
        == 0
    )
    found = json.loads((tmp_path / "found" / "detections.json").read_text())
    assert len(found["images"]) == 2
    assert all(
        x >= 0 and x + width <= 64.01
        for x, _, width, _ in (a["bbox"] for a in found["annotations"])
    )


def test_predict_gives_the_same_table(make_coco: Make, tmp_path: Path, capsys) -> None:
    torch.manual_seed(0)
    folder, file = tmp_path / "model", tmp_path / "model.onnx"
    save_pretrained(ViT(image_size=32, num_classes=3, dim=24, depth=1, heads=3), folder)
    notes = {"classes": ["cat", "dog", "fox"], "input_size": [3, 32, 32], "crop_pct": 1.0}
    (folder / "preprocessing.json").write_text(json.dumps(notes))
    assert verb("export", folder, "-o", file) == 0
    capsys.readouterr()
    tables = []
    for model in (folder, file):
        assert verb("predict", model, make_coco(3) if not tables else tmp_path / "coco") == 0
        tables.append(list(csv.DictReader(capsys.readouterr().out.splitlines())))
    assert len(tables[0]) == 3
    for mine, theirs in zip(*tables, strict=True):
        assert mine["prediction"] == theirs["prediction"]
        assert float(theirs["probability"]) == pytest.approx(float(mine["probability"]), abs=1e-4)
    # What they do not answer is said.
    words = (tmp_path / "coco", "-o", tmp_path / "x")
    assert verb("detect", file, *words) == 2
    assert "finds no objects; use headway predict" in capsys.readouterr().err
    assert verb("explain", file, *words) == 2
    assert "take the model that it was exported from" in capsys.readouterr().err


def test_other_files_are_refused_in_one_line(tmp_path: Path, make_coco: Make, capsys) -> None:
    words = (make_coco(1), "-o", tmp_path / "x", "--domain", "vision")
    program, broken, foreign = (tmp_path / name for name in ("m.pt2", "m.onnx", "f.onnx"))
    program.write_bytes(b"x")
    broken.write_bytes(b"no protobuf")
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
    onnx.save(
        onnx.helper.make_model(
            graph, ir_version=9, opset_imports=[onnx.helper.make_opsetid("", 18)]
        ),
        foreign,
    )
    for file, message in (
        (program, "headway writes and does not read; export to .onnx"),
        (broken, "m.onnx: cannot be read as ONNX"),
        (foreign, "says nothing about its pictures and classes"),
        (tmp_path / "none.onnx", "there is no such graph"),
    ):
        assert verb("detect", file, *words) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    assert not (tmp_path / "x").exists()
