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
from headway.vision.models import LWDETR, RFDETR, YOLOS

Make = Callable[..., Path]


def yolos(folder: Path) -> None:
    config = transformers.YolosConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=[64, 64],
        num_detection_tokens=5, num_labels=4,
    )  # fmt: skip
    transformers.YolosForObjectDetection(config).save_pretrained(folder)
    size = {"shortest_edge": 64, "longest_edge": 90}
    transformers.YolosImageProcessor(size=size).save_pretrained(folder)


def lw_detr(folder: Path) -> None:
    backbone = transformers.LwDetrViTConfig(
        image_size=64, pretrain_image_size=64, patch_size=8, hidden_size=16, num_hidden_layers=2,
        num_attention_heads=2, window_block_indices=[0], out_indices=[1, 2], num_windows=4,
    )  # fmt: skip
    config = transformers.LwDetrConfig(
        backbone_config=backbone, projector_scale_factors=[1.0], **DECODER
    )
    transformers.LwDetrForObjectDetection(config).save_pretrained(folder)
    size = {"height": 64, "width": 64}
    transformers.DeformableDetrImageProcessor(size=size).save_pretrained(folder)


def rf_detr(folder: Path) -> None:
    backbone = transformers.RfDetrDinov2Config(
        image_size=64, patch_size=8, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_windows=2,
        out_indices=[1, 2], mlp_ratio=2,
    )  # fmt: skip
    config = transformers.RfDetrConfig(backbone_config=backbone, **DECODER)
    transformers.RfDetrForObjectDetection(config).save_pretrained(folder)
    size = {"height": 64, "width": 64}
    transformers.RfDetrImageProcessor(size=size).save_pretrained(folder)


DECODER: dict[str, Any] = {
    "d_model": 16, "num_queries": 5, "group_detr": 2, "decoder_layers": 1, "decoder_self_attention_heads": 2,
    "decoder_cross_attention_heads": 2, "decoder_ffn_dim": 24, "num_labels": 4, "c2f_num_blocks": 1,
}  # fmt: skip
SQUARE = {"shortest": 64, "stretch": True, "multiple": 16}
PUBLISHED: dict[str, tuple[Callable[[Path], None], type, dict[str, Any]]] = {
    "YOLOS": (yolos, YOLOS, {"shortest": 64, "longest": 90, "multiple": 16}),
    "LW-DETR": (lw_detr, LWDETR, SQUARE),
    "RF-DETR": (rf_detr, RFDETR, SQUARE),
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
