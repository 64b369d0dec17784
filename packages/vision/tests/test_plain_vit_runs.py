"""Published detectors on plain ViTs: fine-tuned on other classes by the recipe, and asked."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from headway.core.cli.main import main
from headway.core.weights import from_pretrained
from headway.vision.models import YOLOS

Make = Callable[..., Path]


def yolos(folder: Path) -> None:
    config = transformers.YolosConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=[64, 64],
        num_detection_tokens=5, num_labels=4,
    )  # fmt: skip
    transformers.YolosForObjectDetection(config).save_pretrained(folder)
    size = {"shortest_edge": 64, "longest_edge": 90}
    transformers.YolosImageProcessor(size=size).save_pretrained(folder)


PUBLISHED: dict[str, tuple[Callable[[Path], None], type, dict[str, Any]]] = {
    "YOLOS": (yolos, YOLOS, {"shortest": 64, "longest": 90, "multiple": 16}),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_weights_take_other_classes(
    name: str, make_voc: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path / "runs"))
    publish, kind, pictures = PUBLISHED[name]
    torch.manual_seed(0)
    publish(tmp_path / "published")
    source = str(tmp_path / "published")
    words = ["--model.backbone.source", source, "--model.backbone.num_classes", "2"]
    quick = ["--trainer.accelerator", "cpu", "--model.schedule", "null", "--trainer.max_steps", "2"]
    data = make_voc()
    recipe = "vision/finetune_detection"
    assert main(["fit", "-c", recipe, "--data.path", str(data), *quick, *words]) == 0
    run = tmp_path / "runs" / recipe / "1"
    model = from_pretrained(run / "model")
    assert isinstance(model, kind)
    assert model.num_classes == 2  # pyright: ignore[reportAttributeAccessIssue]
    notes = json.loads((run / "model" / "preprocessing.json").read_text())
    assert notes["classes"] == ["blue", "red"]
    assert {key: notes[key] for key in pictures} == pictures
    out = tmp_path / "found"
    words = [str(data / "JPEGImages"), "-o", str(out), "--threshold", "0", "--device", "cpu"]
    assert main(["detect", "-m", str(run), *words]) == 0
    rows = list(csv.DictReader((out / "detections.csv").open()))
    assert len(rows) == 6 * 5
    assert {row["label"] for row in rows} <= {"blue", "red"}
