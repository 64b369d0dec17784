"""What every detector of the package can: half precision, accumulation, RT-DETR's recipe, ONNX of any batch."""

import copy
import csv
import inspect
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from headway.core.cli.main import main
from headway.core.embeddings import PatchEmbedding
from headway.core.mixers import SelfAttention
from headway.core.training import SGD
from headway.core.weights import save_pretrained
from headway.vision import models
from headway.vision.data.detection_batch import DetectionBatch, Target
from headway.vision.layers import (
    HybridEncoder,
    ImageTokens,
    ResNet,
    TiledAttention,
    TiledTokens,
)
from headway.vision.models.detector import ObjectDetector
from headway.vision.tasks import ObjectDetection

Make = Callable[..., Path]
SIZES: dict[str, Any] = {"num_classes": 2, "dim": 32, "heads": 2, "queries": 5}
TWO: dict[str, Any] = {"encoder_depth": 1, "decoder_depth": 2}
PLAIN: dict[str, Any] = {"depth": 2, "cross_heads": 2, "groups": 2}
# Tiles of a map, which a graph cannot cut for any size.
SIZED = ("LWDETR", "RFDETR")
# Nothing that is drawn anew in each call.
STILL: dict[str, dict[str, dict[str, Any]]] = {
    "DETR": {"": TWO},
    "ConditionalDETR": {"": TWO},
    "DeformableDETR": {"": TWO, "two stages": {**TWO, "two_stage": True}},
    "DFINE": {"": {"depth": 2, "denoising": None}},
    "LWDETR": {"": PLAIN},
    "RFDETR": {"": PLAIN},
    "RTDETR": {"": {"depth": 2, "denoising": None, "encoder": partial(HybridEncoder, heads=2)}},
    "YOLOS": {"": {"depth": 2, "image_size": 64}},
}
CASES = [(name, options) for name, all_of in STILL.items() for options in all_of.values()]


def test_every_detector_is_tried() -> None:
    classes = [getattr(models, name) for name in models.__all__]
    assert STILL.keys() == {
        one.__name__ for one in classes if inspect.isclass(one) and issubclass(one, ObjectDetector)
    }


def detector(name: str, options: dict[str, Any]) -> ObjectDetector:
    torch.manual_seed(0)
    make, backbone = getattr(models, name), {}
    if name in SIZED:
        mixer = [partial(TiledAttention, tiles=2), SelfAttention]
        sizes: dict[str, Any] = {"image_size": 64, "dim": 16, "depth": 2, "heads": 2}
        tokens = TiledTokens if name == "RFDETR" else partial(ImageTokens, class_token=False)
        tokens = partial(tokens, **({"tiles": 2} if name == "RFDETR" else {}))
        cut = partial(PatchEmbedding, patch=8)
        model = models.ViT(num_classes=0, embedding=cut, tokens=tokens, mixer=mixer, **sizes)
        backbone = {"backbone": models.Features(model, [0, 1])}
    elif "backbone" in inspect.signature(make).parameters:
        layers: dict[str, Any] = {"depths": (1,) * 4, "widths": (8, 12, 16, 24), "stem": 8}
        backbone = {"backbone": ResNet(**layers, bottleneck=False, out_indices=(1, 2, 3))}
    model = make(**backbone, **SIZES, **options)
    # Nothing is as it is at first, when blocks agree.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    for part in model.modules():
        if type(part).__name__ == "Dropout":
            part.p = 0.0
        if isinstance(part, nn.BatchNorm2d):
            part.eval().train = lambda mode=True, part=part: part  # pyright: ignore
    return model


def batch(*counts: int) -> DetectionBatch:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(len(counts), 3, 128, 128, generator=generator)
    sizes = torch.full((len(counts), 2), 128)
    targets = [
        Target(
            boxes=torch.rand(count, 4, generator=generator) * 0.4 + 0.2,
            labels=torch.randint(2, (count,), generator=generator),
            crowd=torch.zeros(count, dtype=torch.bool),
            size=sizes[0],
            number=torch.tensor(place),
        )
        for place, count in enumerate(counts)
    ]
    return DetectionBatch(images, sizes, targets)


def part(whole: DetectionBatch, rows: slice) -> DetectionBatch:
    return DetectionBatch(whole.images[rows], whole.sizes[rows], whole.targets[rows])


def loss_of(task: ObjectDetection, one: DetectionBatch) -> Tensor:
    boxes, labels = ([getattr(t, name) for t in one.targets] for name in ("boxes", "labels"))
    return task.loss(task.model.taught(one.images, one.sizes, boxes, labels), boxes, labels).total


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_picture_gives_in_any_batch_what_it_gives_alone(
    name: str, options: dict[str, Any]
) -> None:
    model = detector(name, options).eval()
    images = torch.full((3, 3, 96, 128), float("nan"))
    sizes = [(96, 64), (64, 128), (96, 64)]
    for place, (height, width) in enumerate(sizes):
        images[place, :, :height, :width] = torch.rand(3, height, width)
    found = model(images, sizes)
    for place, (height, width) in enumerate(sizes):
        alone = model(images[place : place + 1, :, :height, :width])
        torch.testing.assert_close(found.logits[place], alone.logits[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.boxes[place], alone.boxes[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_half_precision_and_accumulation_give_the_same_loss(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    model = detector(name, options).train()
    plain = SGD(lr=1.0, momentum=0.0, weight_decay=0.0)
    task = ObjectDetection(backbone=model, optimizer=plain)
    whole = batch(3, 0, 1, 0)
    loss = loss_of(task, whole)
    with torch.autocast("cpu", torch.bfloat16):
        half = loss_of(task, whole)
    half.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    torch.testing.assert_close(half, loss, rtol=0.03, atol=0.0)
    # One step of all pictures, and of two halves with unequally many objects.
    steps = []
    for batches in ([whole], [part(whole, slice(2)), part(whole, slice(2, 4))]):
        mine = copy.deepcopy(model)
        trained = ObjectDetection(backbone=mine, optimizer=plain)
        trainer = lightning.Trainer(
            max_epochs=1,
            accumulate_grad_batches=len(batches),
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(trained, torch.utils.data.DataLoader(batches, batch_size=None))
        pairs = zip(mine.parameters(), model.parameters(), strict=True)
        steps.append(torch.cat([(a - b).detach().flatten() for a, b in pairs]))
    # The classes of a DETR, and what blocks of D-FINE learn from the last, are means over the queries of
    # each batch.
    limit = {"cross_entropy": 0.15, "fine": 1e-2}.get(model.loss, 1e-4)
    assert (steps[0] - steps[1]).norm() <= limit * steps[0].norm()


@pytest.mark.parametrize("name", [one for one in STILL if one not in ("DETR", "RTDETR")])
def test_it_trains_by_a_recipe_of_its_own_or_in_the_place_of_rt_detr_and_detects(
    name: str, make_voc: Make, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path / "runs"))
    data = make_voc()
    backbone = "--model.backbone"
    recipe, words = "rt_detr_bccd", [f"{backbone}.num_classes", "2", f"{backbone}.queries", "5"]
    own = {
        "DFINE": "d_fine_bccd",
        "DeformableDETR": "deformable_detr_bccd",
        "LWDETR": "lw_detr_bccd",
        "RFDETR": "rf_detr_bccd",
    }
    if name in own:
        recipe = own[name]
    else:
        words = [backbone, f"headway.vision.models.{name}", *words]
        for option, value in {**SIZES, **STILL[name][""]}.items():
            words += [f"{backbone}.{option}", str(value)]
    quick = ["--trainer.accelerator", "cpu", "--model.schedule", "null", "--trainer.max_steps", "2"]
    sizes = ["--data.path", str(data), "--data.shortest", "96", "--data.longest", "128"]
    assert main(["fit", "-c", f"vision/{recipe}", *quick, *sizes, *words]) == 0
    run, out = tmp_path / "runs" / "vision" / recipe / "1", tmp_path / "found"
    words = [str(data / "JPEGImages"), "-o", str(out), "--threshold", "0", "--device", "cpu"]
    assert main(["detect", "-m", str(run), *words]) == 0
    rows = list(csv.DictReader((out / "detections.csv").open()))
    assert len(rows) == 6 * 5
    assert {row["label"] for row in rows} <= {"blue", "red"}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), CASES)
def test_its_graph_takes_any_batch_height_and_width(
    name: str, options: dict[str, Any], make_voc: Make, tmp_path: Path
) -> None:
    """The verb compares scores, labels and boxes of two batches of other sizes; the file detects."""
    save_pretrained(detector(name, options), tmp_path / "model")
    notes = {"task": "detection", "classes": ["red", "blue"], "shortest": 96, "longest": 128}
    notes |= {"mean": [0.5] * 3, "std": [0.5] * 3}
    (tmp_path / "model" / "preprocessing.json").write_text(json.dumps(notes))
    file = tmp_path / "model.onnx"
    fixed = name in SIZED
    words = ["--size", "96", "128"] if fixed else []
    assert main(["export", "-m", str(tmp_path / "model"), "-o", str(file), *words]) == 0
    session = onnxruntime.InferenceSession(file)
    shape = session.get_inputs()[0].shape
    assert [isinstance(side, int) for side in shape] == [False, True, fixed, fixed]
    words = [str(make_voc() / "JPEGImages"), "-o", str(tmp_path / "found"), "--threshold", "0"]
    assert main(["detect", "-m", str(file), *words]) == 0
    assert (tmp_path / "found" / "detections.csv").is_file()
