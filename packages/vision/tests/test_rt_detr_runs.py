"""RT-DETR from the command line: a recipe, published weights with other classes, answers, exported graphs."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from headway.core.cli.main import main
from headway.core.weights import from_pretrained
from headway.vision.data.box_transforms import DetectionPreprocessing
from headway.vision.models import RTDETR

Make = Callable[..., Path]
QUICK = ["--trainer.accelerator", "cpu", "--model.schedule", "null", "--trainer.max_steps", "2"]


@pytest.fixture(autouse=True)
def folder_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path / "runs"))


def fit(recipe: str, tmp_path: Path, *words: str) -> Path:
    assert main(["fit", "-c", f"vision/{recipe}", *QUICK, *words]) == 0
    return tmp_path / "runs" / "vision" / recipe / "1"


def test_the_recipe_trains_detects_and_its_graph_takes_any_batch(
    make_voc: Make, tmp_path: Path
) -> None:
    data = make_voc()
    sizes = ["--data.shortest", "64", "--data.longest", "96", "--model.backbone.queries", "20"]
    sizes += ["--model.backbone.depth", "1"]  # exporters take a minute for three blocks
    words = ["--data.path", str(data), *sizes, "--model.backbone.num_classes", "2"]
    run = fit("rt_detr_bccd", tmp_path, *words, "--trainer.check_val_every_n_epoch", "1")
    header = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train_loss", "train_overlap", "val_loss", "val_map", "val_map_50"} <= set(header)
    out = tmp_path / "found"
    words = [str(data / "JPEGImages"), "-o", str(out), "--threshold", "0", "--device", "cpu"]
    assert main(["detect", "-m", str(run), *words]) == 0
    rows = list(csv.DictReader((out / "detections.csv").open()))
    assert len(rows) == 6 * 20
    assert {row["label"] for row in rows} <= {"blue", "red"}
    # torch.export cannot prove that a map that was halved is as large as the next one, whatever the size.
    for ending, size in (("onnx", []), ("pt2", ["--size", "64", "96"])):
        file = tmp_path / ending / f"model.{ending}"
        assert main(["export", "-m", str(run), "-o", str(file), *size]) == 0
    notes = json.loads((tmp_path / "onnx" / "model.json").read_text())
    assert notes["classes"] == ["blue", "red"]


@pytest.fixture
def published(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    backbone = transformers.RTDetrResNetConfig(
        layer_type="basic", embedding_size=8, hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 1],
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = transformers.RTDetrConfig(
        backbone_config=backbone, d_model=16, encoder_hidden_dim=16, encoder_in_channels=[12, 16, 24],
        decoder_in_channels=[16] * 3, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=24,
        decoder_ffn_dim=24, num_queries=10, decoder_layers=2, num_labels=4,
    )  # fmt: skip
    folder = tmp_path / "published"
    transformers.RTDetrForObjectDetection(config).save_pretrained(folder)
    transformers.RTDetrImageProcessor(size={"height": 96, "width": 96}).save_pretrained(folder)
    return folder


def test_published_weights_take_other_classes(
    published: Path, make_voc: Make, tmp_path: Path
) -> None:
    words = ["--model.backbone.source", str(published), "--model.backbone.num_classes", "2"]
    run = fit("finetune_detection", tmp_path, "--data.path", str(make_voc()), *words)
    model = from_pretrained(run / "model")
    assert isinstance(model, RTDETR)
    assert model.num_classes == 2
    notes = json.loads((run / "model" / "preprocessing.json").read_text())
    assert notes["classes"] == ["blue", "red"]
    assert (notes["shortest"], notes["stretch"]) == (96, True)
    assert notes["mean"] == [0.0] * 3
    before = from_pretrained(published)
    assert isinstance(before, RTDETR)
    # The backbone's batch norms stay as published; its convolutions learn.
    torch.testing.assert_close(model.backbone.bn1.weight, before.backbone.bn1.weight)
    assert not torch.equal(
        model.encoder.inputs[0].conv.weight, before.encoder.inputs[0].conv.weight
    )


def test_pictures_are_those_of_the_published_processor(published: Path) -> None:
    model = from_pretrained(published)
    ours = DetectionPreprocessing.from_cfg(model.pretrained_cfg)  # pyright: ignore
    pixels = np.random.default_rng(0).integers(0, 256, (50, 75, 3), dtype=np.uint8)
    theirs = transformers.RTDetrImageProcessor.from_pretrained(published)
    wanted = theirs(images=Image.fromarray(pixels), return_tensors="pt")["pixel_values"][0]
    found = ours.tensor(Image.fromarray(pixels))
    assert found.shape == wanted.shape == (3, 96, 96)
    # One step of 8 bits, by which two resizers may round differently.
    assert (found - wanted).abs().max() <= 1.01 / 255
