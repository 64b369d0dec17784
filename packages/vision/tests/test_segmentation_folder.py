"""Folders of pictures and masks, and what is wrong with them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headway.core.errors import InputError
from headway.vision.data.segmentation_folder import SegmentationFolder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures whose red channel is bright where the mask is 1."""
    for name in ("train", "trainannot"):
        (tmp_path / name).mkdir()
    for number in range(3):
        ids = np.zeros((24, 32), np.uint8)
        ids[4:20, 2 + number : 14] = 1
        Image.fromarray(ids).save(tmp_path / f"trainannot/{number}.png")
        Image.fromarray(np.stack([ids * 250] * 3, -1)).save(tmp_path / f"train/{number}.png")
    return tmp_path


def data(folder: Path, **options: object) -> SegmentationFolder:
    return SegmentationFolder(path=str(folder), class_names=("road", "car"), **options)


def test_picture_and_mask_move_together(folder: Path) -> None:
    module = data(folder, crop=(24, 32))
    module.setup()
    for seed in range(5):
        torch.manual_seed(seed)
        image, mask = module.train_set[0]
        bright = (image[0] > image[0].mean()).long()
        assert mask.shape == (24, 32)
        assert (bright == mask).float().mean() > 0.9 or mask.float().mean() in (0, 1)


def spoil_size(folder: Path) -> None:
    Image.new("L", (8, 8)).save(folder / "trainannot/1.png")


def spoil_ids(folder: Path) -> None:
    Image.new("L", (32, 24), 7).save(folder / "trainannot/1.png")


def spoil_file(folder: Path) -> None:
    (folder / "trainannot/1.png").write_bytes(b"no picture")


def remove(folder: Path) -> None:
    (folder / "trainannot/1.png").unlink()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_size, "it is 8x8, but its picture is 32x24"),
        (spoil_ids, r"it has the ids \[7\]"),
        (spoil_file, "not a mask"),
        (remove, "it has no mask"),
    ],
)
def test_bad_masks_are_named_before_training_or_left_out(
    folder: Path, spoil: object, reason: str
) -> None:
    spoil(folder)  # pyright: ignore[reportCallIssue]
    with pytest.raises(InputError, match=reason):
        data(folder).setup()
    module = data(folder, on_invalid="skip")
    module.setup()
    assert len(module.train_set) == 2  # pyright: ignore[reportArgumentType]
    assert len(module.invalid.errors) == 1
