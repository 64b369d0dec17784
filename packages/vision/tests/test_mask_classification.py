"""Runs of mask classifiers: classes of pixels, objects and segments, and the data they are read from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer, seed_everything
from PIL import Image
from pycocotools import mask as coder

from headway.core.errors import InputError, UserError
from headway.core.training import AdamW
from headway.vision.data import COCOSegmentation
from headway.vision.models import Features, Mask2Former, Masks, Swin
from headway.vision.tasks import FocalMaskLoss, MaskClassification, PointMaskLoss
from headway.vision.tasks.mask_classification import masks_of_classes


def model(classes: int) -> Mask2Former:
    swin = Swin(image_size=32, num_classes=0, dim=8, depths=(1, 1, 1), heads=(2, 2, 2))
    sizes: dict[str, Any] = {"dim": 16, "mask_dim": 8, "heads": 2, "queries": 6, "levels": 2}
    depths = {"encoder_depth": 1, "decoder_depth": 1}
    backbone = Features(swin, [0, 1, 2])
    return Mask2Former(num_classes=classes, backbone=backbone, **sizes, **depths)


def coco(root: Path, *, polygons: bool = True) -> Path:
    """Two squares of two classes on a ground, as objects and as segments; the ids have gaps."""
    (root / "annotations").mkdir(parents=True)
    for split in ("train2017", "val2017"):
        (root / split).mkdir()
        maps = root / "annotations" / f"panoptic_{split}"
        maps.mkdir()
        images, objects, whole = [], [], []
        for number in range(4):
            ids = np.full((32, 48), 300, np.int64)
            picture = np.full((32, 48, 3), 30, np.uint8)
            parts = [{"id": 300, "category_id": 90, "iscrowd": 0}]
            for place, category in enumerate((3, 7)):
                top, left = 4 + 2 * number, 4 + 22 * place
                ids[top : top + 14, left : left + 18] = place + 1
                picture[top : top + 14, left : left + 18, place] = 250
                corners = [left, top, left + 18, top, left + 18, top + 14, left, top + 14]
                mask = coder.encode(np.asfortranarray((ids == place + 1).astype(np.uint8)))
                runs = {"size": mask["size"], "counts": mask["counts"].decode()}
                objects.append(
                    {
                        "id": len(objects) + 1, "image_id": number, "category_id": category, "iscrowd": 0,
                        "segmentation": [corners] if polygons else runs,
                    }
                )  # fmt: skip
                parts.append({"id": place + 1, "category_id": category, "iscrowd": 0})
            colours = np.stack([ids % 256, ids // 256, ids * 0], -1).astype(np.uint8)
            Image.fromarray(colours).save(maps / f"{number}.png")
            Image.fromarray(picture).save(root / split / f"{number}.png")
            name = f"{number}.png"
            images.append({"id": number, "file_name": name, "height": 32, "width": 48})
            whole.append({"image_id": number, "file_name": name, "segments_info": parts})
        things = [{"id": 3, "name": "red", "isthing": 1}, {"id": 7, "name": "green", "isthing": 1}]
        ground = [{"id": 90, "name": "ground", "isthing": 0}]
        for kind, annotations, categories in (
            ("instances", objects, things),
            ("panoptic", whole, things + ground),
        ):
            content = {"images": images, "annotations": annotations, "categories": categories}
            file = root / "annotations" / f"{kind}_{split}.json"
            file.write_text(json.dumps(content))
    return root


def data(root: Path, kind: Any, **options: Any) -> COCOSegmentation:
    sizes: dict[str, Any] = {"size": (32, 48), "batch_size": 2, "mirror": False}
    return COCOSegmentation(path=str(root), kind=kind, **{**sizes, **options})


def trainer(**options: Any) -> Trainer:
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False}
    return Trainer(
        accelerator="cpu", enable_progress_bar=False, enable_model_summary=False, **quiet, **options
    )


@pytest.mark.parametrize("polygons", [True, False])
def test_objects_and_segments_are_read_as_they_are(polygons: bool, tmp_path: Path) -> None:
    root = coco(tmp_path / "coco", polygons=polygons)
    objects, segments = data(root, "instances"), data(root, "panoptic")
    assert (objects.num_classes, segments.num_classes) == (2, 3)
    assert (objects.stuff, segments.stuff) == (frozenset(), {2})
    assert segments.preprocessing()["classes"] == ["red", "green", "ground"]
    assert objects.train_set is not None
    assert segments.train_set is not None
    _, mine = objects.train_set[1]
    _, whole = segments.train_set[1]
    assert mine.labels.tolist() == [0, 1]
    assert whole.labels.tolist() == [2, 0, 1]
    assert torch.equal(mine.masks, whole.masks[1:])
    assert mine.masks[0].nonzero().amin(0).tolist() == [6, 4]
    assert mine.masks.sum((1, 2)).tolist() == [14 * 18] * 2
    assert (whole.masks.sum(0) == 1).all()
    # At half the size a mask has a quarter of its pixels.
    halved = data(root, "panoptic", size=(16, 24)).train_set
    assert halved is None
    small = data(root, "panoptic", size=(16, 24))
    small.setup()
    assert small.train_set is not None
    image, target = small.train_set[1]
    assert image.shape == (3, 16, 24)
    assert (target.masks.sum(0) == 1).all()


@pytest.mark.parametrize(("kind", "score"), [("instances", "map"), ("panoptic", "pq")])
def test_a_run_logs_the_scores_of_its_data(kind: str, score: str, tmp_path: Path) -> None:
    seed_everything(0)
    source = data(coco(tmp_path / "coco"), kind)
    source.setup()
    task = MaskClassification(
        backbone=model(source.num_classes),
        loss=PointMaskLoss(points=64),
        optimizer=AdamW(lr=1e-3),
    )
    run = trainer(max_steps=2, max_epochs=2)
    run.fit(task, source)
    assert {f"val_{score}", "val_loss", "train_dice"} <= run.callback_metrics.keys()
    assert task.monitor == f"val_{score}"
    perfect = MaskClassification(
        backbone=PerfectMasks(source.num_classes), optimizer=AdamW(lr=1e-3)
    )
    scores = trainer().validate(perfect, source, verbose=False)[0]
    assert scores[f"val_{score}"] == pytest.approx(1.0)


class PerfectMasks(Mask2Former):
    """Knows the pictures of ``coco`` by their colours."""

    def __init__(self, classes: int) -> None:
        super().__init__(
            num_classes=classes,
            backbone=Features(
                Swin(image_size=32, num_classes=0, dim=8, depths=(1, 1, 1), heads=(2, 2, 2)),
                [0, 1, 2],
            ),
            dim=16, mask_dim=8, heads=2, queries=6, levels=2, encoder_depth=1, decoder_depth=1,
        )  # fmt: skip

    def forward(self, images: torch.Tensor) -> Masks:
        bright = images[:, :2] > 0
        there = torch.cat([bright, ~bright.any(1, keepdim=True)], 1)[:, : self.num_classes]
        logits = 20 * torch.eye(self.num_classes, self.num_classes + 1)
        return Masks(logits.expand(len(images), -1, -1), 40.0 * there - 20)


def test_accumulated_batches_count_each_mask_the_same(tmp_path: Path) -> None:
    """Two pictures in two batches give the gradient of both in one."""
    gradients = []
    for size, parts in ((4, 1), (2, 2)):
        seed_everything(0)
        source = data(coco(tmp_path / str(size)), "panoptic", batch_size=size, shuffle=False)
        task = Kept(
            backbone=model(3).eval(),
            # Of every pixel, and of the classes nothing: their mean is one over queries.
            loss=FocalMaskLoss(class_weight=0.0),
            optimizer=AdamW(lr=1e-3),
        )
        trainer(max_steps=1, accumulate_grad_batches=parts, limit_val_batches=0).fit(task, source)
        gradients.append(task.kept)
    assert gradients[0].norm() > 0
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


class Kept(MaskClassification):
    """Keeps the gradient of its first step."""

    kept: torch.Tensor

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        super().on_before_optimizer_step(optimizer)
        first: Any = self.backbone
        self.kept = first.mask_head.layers[0].weight.grad.clone()


def test_a_class_is_one_mask_and_ignored_pixels_none() -> None:
    ids = torch.tensor([[[0, 0, 2], [255, 2, 0]], [[255] * 3] * 2])
    masks, labels = masks_of_classes(ids, ignore=255)
    assert [one.tolist() for one in labels] == [[0, 2], []]
    assert masks[0].sum((1, 2)).tolist() == [3, 2]
    assert masks[1].shape == (0, 2, 3)
    output = model(3)(torch.randn(2, 3, 32, 32))
    masks = [torch.zeros(0, 32, 32)] * 2
    loss = PointMaskLoss(points=8)(output, masks, [torch.zeros(0, dtype=torch.long)] * 2)
    assert loss.total.isfinite()
    loss.total.backward()


def test_wrong_files_are_named(tmp_path: Path) -> None:
    root = coco(tmp_path / "coco")
    file = root / "annotations" / "instances_train2017.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["segmentation"] = [[1, 2, 3]]
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match="annotation 1: .*3 points or more"):
        data(root, "instances").setup()
    skipped = data(root, "instances", on_invalid="skip")
    skipped.setup()
    assert skipped.train_set is not None
    assert len(skipped.train_set[0][1].labels) == 1
    wrong = root / "annotations" / "panoptic_train2017" / "0.png"
    Image.fromarray(np.full((32, 48, 3), 9, np.uint8)).save(wrong)
    source = data(root, "panoptic")
    source.setup()
    assert source.train_set is not None
    with pytest.raises(InputError, match="none of its segments_info"):
        source.train_set[0]
    with pytest.raises(UserError, match="needs one"):
        data(tmp_path, "panoptic").setup()
