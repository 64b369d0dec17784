"""Exported detectors answer as before: classes, ids, counts and boxes, for any batch and size."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import Tensor

from headway.core.cli.main import main
from headway.core.weights import from_pretrained, save_pretrained
from headway.vision.models import DETR, Features, Swin
from headway.vision.verbs import export as export_verb
from headway.vision.verbs.graphs import Graph

Make = Callable[..., Path]


def export(model: Path, out: Path, *words: str) -> int:
    return main(["export", "-m", str(model), "-o", str(out), *words])


def runner(file: Path) -> Callable[[Tensor], list[Tensor]]:
    """What the file computes; headway takes no part in it."""
    if file.suffix == ".onnx":
        session = onnxruntime.InferenceSession(file)
        assert [one.name for one in session.get_outputs()] == ["scores", "labels", "boxes"]
        return lambda images: [
            torch.from_numpy(one) for one in session.run(None, {"images": images.numpy()})
        ]
    program = torch.export.load(file).module()
    return lambda images: list(program(images))


def as_notes_say(file: Path, notes: dict) -> Tensor:
    with Image.open(file) as image:
        scale = min(notes["shortest"] / min(image.size), notes["longest"] / max(image.size))
        size = (round(image.width * scale), round(image.height * scale))
        pixels = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BILINEAR))
    mean, std = (np.array(notes[name]) for name in ("mean", "std"))
    normal = (pixels / 255 - mean) / std
    return torch.from_numpy(normal.transpose(2, 0, 1).astype(np.float32))[None]


@pytest.mark.parametrize("ending", ["onnx", "pt2"])
def test_answers_after_the_export_are_those_before_for_any_batch_and_size(
    ending: str, tiny_detr: Path, make_coco: Make, tmp_path: Path, capsys
) -> None:
    notes = json.loads((tiny_detr / "preprocessing.json").read_text())
    notes.update(shortest=72, longest=96)
    (tiny_detr / "preprocessing.json").write_text(json.dumps(notes))
    root = make_coco(3)
    Image.open(root / "2.png").resize((60, 80)).save(root / "2.png")
    file = tmp_path / "out" / f"model.{ending}"
    assert export(tiny_detr, file) == 0
    said = capsys.readouterr().out
    assert "images (batch, 3, height, width) -> scores, labels, boxes" in said
    assert said.count("largest difference") == 2
    words = ["detect", "-m", str(tiny_detr), str(root), "-o", str(tmp_path / "found")]
    assert main([*words, "--threshold", "0", "--device", "cpu"]) == 0
    found = json.loads((tmp_path / "found" / "detections.json").read_text())
    notes, run = json.loads(file.with_suffix(".json").read_text()), runner(file)
    assert notes["category_ids"] == [7, 90]
    assert notes["classes"] == ["red", "blue"]
    for image in found["images"]:
        expected = [one for one in found["annotations"] if one["image_id"] == image["id"]]
        path = Path(image["file_name"])
        scores, labels, boxes = (one[0] for one in run(as_notes_say(path, notes)))
        order = scores.argsort(descending=True, stable=True)
        assert len(order) == len(expected) == 5
        assert [notes["category_ids"][k] for k in labels[order]] == [
            one["category_id"] for one in expected
        ]
        assert scores[order].tolist() == pytest.approx([one["score"] for one in expected], abs=1e-4)
        corners = boxes[order] * torch.tensor([image["width"], image["height"]] * 2)
        sides = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
        torch.testing.assert_close(
            sides, torch.tensor([one["bbox"] for one in expected]), atol=0.02, rtol=0
        )
    model = from_pretrained(tiny_detr).eval()
    for shape in ((1, 3, 64, 64), (4, 3, 77, 200), (2, 3, 160, 65)):
        images = torch.randn(shape)
        scores, labels, boxes = run(images)
        answer = model(images)
        best, classes = answer.logits.softmax(-1)[..., :-1].max(-1)
        torch.testing.assert_close(scores, best, atol=1e-4, rtol=1e-4)
        assert torch.equal(labels, classes)
        x, y, width, height = answer.boxes.unbind(-1)
        corners = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], -1)
        torch.testing.assert_close(boxes, corners.clamp(0, 1), atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_a_detector_over_windows_is_exported_for_one_size(tmp_path: Path, capsys) -> None:
    torch.manual_seed(0)
    swin = Swin(image_size=64, num_classes=3, dim=12, depths=(1, 1), heads=(2, 4))
    sizes = {"dim": 16, "heads": 2, "queries": 4, "encoder_depth": 1, "decoder_depth": 1}
    save_pretrained(DETR(num_classes=3, backbone=Features(swin, [1]), **sizes), tmp_path / "swin")
    file = tmp_path / "m.pt2"
    assert export(tmp_path / "swin", file) == 2
    assert "--size HEIGHT WIDTH exports one size alone" in capsys.readouterr().err
    assert export(tmp_path / "swin", file, "--size", "64", "96") == 0
    assert "images (batch, 3, 64, 96)" in capsys.readouterr().out
    scores, _, boxes = runner(file)(torch.randn(3, 3, 64, 96))
    assert (scores.shape, boxes.shape) == ((3, 4), (3, 4, 4))


def test_an_export_with_other_classes_or_boxes_is_refused(
    tiny_detr: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    for place, change in ((1, lambda x: 1 - x), (1, lambda x: x + 2), (2, lambda x: x + 0.1)):

        def wrong(graph: Graph, path: Path, opset: int, place=place, change=change):
            path.write_bytes(b"x")
            return lambda images: tuple(
                change(one) if k == place else one for k, one in enumerate(graph.module(images))
            )

        monkeypatch.setitem(export_verb.WRITERS, ".pt2", wrong)
        assert export(tiny_detr, tmp_path / "out" / "m.pt2") == 1
        said = capsys.readouterr().err
        assert "the exported model" in said
        assert not (tmp_path / "out").exists()


def test_what_cannot_be_exported_says_what_to_do(
    tiny_detr: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    def fails(graph: Graph, path: Path, opset: int):
        raise RuntimeError("sides are read\nadvice")

    monkeypatch.setitem(export_verb.WRITERS, ".pt2", fails)
    assert export(tiny_detr, tmp_path / "m.pt2") == 1
    assert "sides are read; nothing was written; --size HEIGHT WIDTH" in capsys.readouterr().err
    assert export(tiny_detr, tmp_path / "m.pt2", "--size", "64", "64") == 1
    assert "--size" not in capsys.readouterr().err
    assert export(tiny_detr, tmp_path / "m.pt2", "--size", "0", "64") == 2
    assert "--size 0 is below 1" in capsys.readouterr().err


def test_other_verbs_ask_what_a_model_answers(tiny_detr: Path, tmp_path: Path, capsys) -> None:
    picture = tmp_path / "a.png"
    Image.new("RGB", (64, 64)).save(picture)
    for verb in ("predict", "explain"):
        out = ["-o", str(tmp_path / verb)]
        assert main([verb, "-m", str(tiny_detr), str(picture), *out, "--device", "cpu"]) == 2
        assert "finds objects" in capsys.readouterr().err
