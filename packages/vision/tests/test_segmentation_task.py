"""A run of segmentation: it learns what a pixel's colour says, and its scores are those of all pixels."""

from pathlib import Path

import numpy as np
import pytest
from lightning import Trainer, seed_everything
from PIL import Image

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


def test_a_model_of_other_classes_is_refused(data: SegmentationFolder) -> None:
    with pytest.raises(UserError, match="set the model's num_classes to 2"):
        trainer(1).fit(Segmentation(backbone=model(3), optimizer=AdamW(lr=1e-2)), data)
