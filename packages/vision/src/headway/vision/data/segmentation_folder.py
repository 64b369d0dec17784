"""A data module of pictures with masks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from headway.core.errors import UserError
from headway.core.training import DataModule, LoaderOptions, Passed
from headway.core.training.invalid import InvalidItems, OnInvalid
from headway.vision.data.masks import MaskedPicture, find_masks, read_mask
from headway.vision.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from headway.vision.data.reading import read_image


class MaskedDataset(Dataset[tuple[Tensor, Tensor]]):
    """Decodes one picture and its mask at a time; both move together.

    Args:
        pictures: Which ones.
        classes: Number of classes.
        ignore: Label of pixels that do not count.
        crop: Height and width that training cuts out of a picture made larger or smaller at random, and
            mirrored at random; None leaves pictures as they are.
    """

    def __init__(
        self,
        pictures: Sequence[MaskedPicture],
        *,
        classes: int,
        ignore: int,
        crop: tuple[int, int] | None = None,
    ) -> None:
        self.pictures, self.classes, self.ignore = pictures, classes, ignore
        moves: list[Any] = []
        if crop is not None:
            moves = [
                v2.RandomResizedCrop(crop, scale=(0.25, 1.0), antialias=True),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(0.3, 0.3, 0.3),
            ]
        scale = v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True)
        self.transform = v2.Compose([*moves, scale, v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)])

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pair = self.pictures[index]
        image = tv_tensors.Image(read_image(pair.picture.read_bytes(), str(pair.picture)))
        mask = tv_tensors.Mask(torch.from_numpy(read_mask(pair.mask, self.classes, self.ignore)))
        image, mask = self.transform(image, mask)
        return image.as_subclass(Tensor), mask.as_subclass(Tensor).long()


class SegmentationFolder(DataModule):
    """Pictures in ``train``, ``val`` and ``test``, masks of the same names in ``trainannot`` and so on.

    Pictures of a split have one size. Masks are grey or palette PNGs of ids.

    Args:
        path: The folder; ``val`` and ``test`` may be missing.
        class_names: Names of the classes in the order of the ids.
        ignore: Id of pixels that are neither learned nor counted.
        crop: As of ``MaskedDataset``, in training.
        batch_size: Pictures of a batch.
        on_invalid: What happens to pictures and masks that cannot be used.
        **loader: As of every ``DataModule``.
    """

    def __init__(
        self,
        *,
        path: str,
        class_names: Sequence[str],
        ignore: int = 255,
        crop: tuple[int, int] | None = None,
        batch_size: int = 8,
        on_invalid: OnInvalid = "raise",
        **loader: Passed[LoaderOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, **loader)
        if not 0 < len(set(class_names)) == len(class_names):
            raise UserError(f"class_names {list(class_names)} must be names, each of them once")
        self.path, self.classes, self.ignore, self.crop = path, tuple(class_names), ignore, crop
        self.invalid = InvalidItems(on_invalid, "pictures and masks")

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def preprocessing(self) -> dict[str, Any]:
        """Returns classes, mean, std, and that it is about segmentation."""
        found = {"task": "segmentation", "classes": list(self.classes), "ignore": self.ignore}
        return {**found, "mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)}

    def setup(self, stage: str | None = None) -> None:
        """Reads and checks all pictures and masks, once."""
        if self.train_set is not None:
            return
        folder, options = (
            Path(self.path).expanduser(),
            {"classes": self.num_classes, "ignore": self.ignore},
        )
        total = 0
        for split in ("train", "val", "test"):
            if split != "train" and not (folder / split).is_dir():
                continue
            masks = folder / f"{split}annot"
            found = find_masks(folder / split, masks, invalid=self.invalid, **options)
            total += len(found)
            crop = self.crop if split == "train" else None
            setattr(self, f"{split}_set", MaskedDataset(found, crop=crop, **options))
        self.invalid.log(total + len(self.invalid.errors))
        self.predict_set = self.test_set or self.val_set
