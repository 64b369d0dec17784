"""A run of segmentation: it learns what a pixel's colour says, and its scores are those of all pixels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Trainer, seed_everything
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.training import AdamW
from headway.vision.data.segmentation_folder import SegmentationFolder
from headway.vision.models.segformer import SegFormer
from headway.vision.tasks.segmentation import Segmentation


def model(classes: int) -> SegFormer:
    sizes = {"dims": (8, 16), "depths": (1, 1), "heads": (1, 2), "reductions": (2, 1)}
    return SegFormer(num_classes=classes, dim=8, drop_path=0.0, dropout=0.0, **sizes)


@pytest.fixture
def data(tmp_path: Path) -> SegmentationFolder:
    for split in ("train", "test"):
        for name in (split, f"{split}annot"):
            (tmp_path / name).mkdir()
        for number in range(8):
            ids = np.zeros((32, 48), np.uint8)
            ids[8:24, 4 * number : 4 * number + 16] = 1
            picture = np.stack([ids * 250] * 3, -1)
            ids[:2] = 9
            Image.fromarray(ids).save(tmp_path / f"{split}annot/{number}.png")
            Image.fromarray(picture).save(tmp_path / f"{split}/{number}.png")
    return SegmentationFolder(
        path=str(tmp_path), class_names=("road", "car"), ignore=9, batch_size=4
    )


def trainer(epochs: int) -> Trainer:
    return Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )


def test_a_run_learns_and_names_the_overlap_of_each_class(data: SegmentationFolder) -> None:
    seed_everything(0)
    task, run = Segmentation(backbone=model(2), optimizer=AdamW(lr=1e-2)), trainer(20)
    before = run.test(task, data, verbose=False)[0]["test_miou"]
    run.fit(task, data)
    scores = run.test(task, data, verbose=False)[0]
    assert scores["test_miou"] > before + 0.1
    both = (scores["test_iou_road"] + scores["test_iou_car"]) / 2
    assert scores["test_miou"] == pytest.approx(both, abs=1e-5)


def loss_of(data: SegmentationFolder, logits: Tensor, labels: Tensor, **options: object) -> float:
    task = Segmentation(backbone=model(2), optimizer=AdamW(lr=1e-2), **options)  # pyright: ignore
    task.ignore, task.weights = -1, task._weights(data)
    return float(task._loss(logits, labels))


def test_pixels_of_rare_classes_count_more_if_balanced(data: SegmentationFolder) -> None:
    data.setup()
    assert data.class_pixels is not None
    road, car = data.class_pixels.tolist()
    # 8 pictures of 32 x 48, of which 2 rows do not count and 16 x 16 pixels are the car.
    assert (road, car) == (8 * (30 * 48 - 256), 8 * 256)
    logits, labels = torch.zeros(1, 2, 1, 3), torch.tensor([[[0, 1, -1]]])
    logits[0, 0] = 2.0
    wrong, right = float(F.softplus(torch.tensor(2.0))), float(F.softplus(torch.tensor(-2.0)))
    assert loss_of(data, logits, labels) == pytest.approx((wrong + right) / 2)
    weighed = (wrong * road + right * car) / (road + car)
    assert loss_of(data, logits, labels, class_weights="balanced") == pytest.approx(weighed)
    numbers = loss_of(data, logits, labels, class_weights=[1.0, 3.0])
    assert numbers == pytest.approx((3 * wrong + right) / 4)
    first = torch.tensor([[[0, -1, -1]]])
    smooth = loss_of(data, logits, first, label_smoothing=0.5)
    assert smooth == pytest.approx(0.75 * right + 0.25 * wrong)
    nothing = torch.full_like(labels, -1)
    assert loss_of(data, logits, nothing, class_weights="balanced") == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_weights": [1.0]}, "must be 2 numbers from 0 on"),
        ({"class_weights": [1.0, -1.0]}, "must be 2 numbers from 0 on"),
        ({"label_smoothing": 1.0}, "it lies in"),
    ],
)
def test_weights_that_do_not_fit_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Segmentation(backbone=model(2), optimizer=AdamW(lr=1e-2), **options)  # pyright: ignore


def test_a_model_of_other_classes_is_refused(data: SegmentationFolder) -> None:
    with pytest.raises(UserError, match="set the model's num_classes to 2"):
        trainer(1).fit(Segmentation(backbone=model(3), optimizer=AdamW(lr=1e-2)), data)
