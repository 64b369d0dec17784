"""A data module of pictures with masks of objects, or with maps of segments."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as T

from headway.core.errors import UserError
from headway.core.training import DataModule, LoaderOptions, Passed
from headway.core.training.invalid import InvalidItems, OnInvalid
from headway.vision.data.coco_masks import MaskedObjects, read_instances, read_panoptic
from headway.vision.data.mask_batch import MaskItem, collate_masks
from headway.vision.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from headway.vision.data.reading import read_image

Kind = Literal["instances", "panoptic"]


class MaskedObjectDataset(Dataset[MaskItem]):
    """Decodes one picture and its masks at a time; both move together.

    Args:
        pictures: Which ones.
        size: Height and width that pictures and masks are resized to.
        mirror: Whether every other picture, at random, is mirrored.
    """

    def __init__(
        self, pictures: Sequence[MaskedObjects], *, size: tuple[int, int], mirror: bool = False
    ) -> None:
        self.pictures, self.size = pictures, size
        moves: list[Any] = [v2.RandomHorizontalFlip()] if mirror else []
        scale = v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True)
        self.transform = v2.Compose([*moves, scale, v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)])

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> MaskItem:
        one = self.pictures[index]
        image = read_image(one.picture.read_bytes(), str(one.picture), size=one.size)
        target = one.read()
        # Nearest pixels of a map of segments stay one.
        masks = T.resize(
            target.masks[:, None].byte(), list(self.size), v2.InterpolationMode.NEAREST_EXACT
        )[:, 0]
        picture = T.resize(tv_tensors.Image(image), list(self.size), antialias=True)
        picture, masks = self.transform(picture, tv_tensors.Mask(masks))
        found: Tensor = masks.as_subclass(Tensor).bool()
        # What has no pixel left can neither be learned nor found.
        kept = found.flatten(1).any(1)
        labels, crowd = target.labels[kept], target.crowd[kept]
        return picture.as_subclass(Tensor), target._replace(
            masks=found[kept], labels=labels, crowd=crowd
        )


class COCOSegmentation(DataModule):
    """Pictures with masks as COCO lays them out.

    ``annotations`` holds ``instances_train2017.json`` or ``panoptic_train2017.json``, the latter with a
    folder ``panoptic_train2017`` of PNGs beside it, and the pictures are in ``train2017``; whatever follows
    the name of a split is the same for both. Pictures and masks are resized to one size, at which they are
    evaluated, too.

    Args:
        path: The folder; ``val`` and ``test`` may be missing.
        kind: Whether masks are those of objects, or of all segments of a picture.
        size: Height and width of pictures in pixels.
        batch_size: Pictures of a batch.
        mirror: Whether pictures are mirrored at random in training.
        on_invalid: What happens to pictures and masks that cannot be used.
        **loader: As of every ``DataModule``.

    Raises:
        UserError: If the size has no pixel, ``train`` is missing or splits have other classes.
    """

    def __init__(
        self,
        *,
        path: str,
        kind: Kind = "instances",
        size: tuple[int, int] = (384, 512),
        batch_size: int = 4,
        mirror: bool = True,
        on_invalid: OnInvalid = "raise",
        **loader: Passed[LoaderOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, **loader)
        if kind not in ("instances", "panoptic"):
            raise UserError(f"kind is 'instances' or 'panoptic', got {kind!r}")
        if min(size) < 1:
            raise UserError(f"size {tuple(size)} is a height and a width in pixels")
        self.path, self.kind, self.size, self.mirror = path, kind, (size[0], size[1]), mirror
        self.invalid = InvalidItems(on_invalid, "pictures and masks")
        self.classes: list[str] = []
        self.stuff: frozenset[int] = frozenset()

    collate = staticmethod(collate_masks)

    @property
    def num_classes(self) -> int:
        """Number of classes; known once the files are read."""
        self.setup()
        return len(self.classes)

    def preprocessing(self) -> dict[str, Any]:
        """Returns classes, mean, std, size, and what the masks are."""
        self.setup()
        return {
            "task": self.kind,
            "classes": list(self.classes),
            "stuff": sorted(self.stuff),
            "size": list(self.size),
            "mean": list(IMAGENET_MEAN),
            "std": list(IMAGENET_STD),
        }

    def setup(self, stage: str | None = None) -> None:
        """Reads and checks all annotations, once."""
        if self.train_set is not None:
            return
        folder = Path(self.path).expanduser()
        total = 0
        for split in ("train", "val", "test"):
            file = self._file(folder, split)
            if file is None:
                continue
            rest = file.stem.removeprefix(f"{self.kind}_")
            pictures = folder / rest
            if self.kind == "instances":
                found = read_instances(file, pictures, self.invalid)
            else:
                found = read_panoptic(file, pictures, file.with_suffix(""), self.invalid)
            if split == "train":
                self.classes, self.stuff = found.classes, found.stuff
            elif found.classes != self.classes:
                raise UserError(
                    f"{file} has other classes than those of train: {found.classes[:5]}"
                )
            if not found.pictures:
                raise UserError(f"{file} has no picture that can be used")
            total += len(found.pictures)
            mirror = self.mirror and split == "train"
            made = MaskedObjectDataset(found.pictures, size=self.size, mirror=mirror)
            setattr(self, f"{split}_set", made)
        self.invalid.log(total + len(self.invalid.errors))
        self.predict_set = self.test_set or self.val_set

    def _file(self, folder: Path, split: str) -> Path | None:
        """Returns the annotations of a split; None if there are none, which only ``train`` must have."""
        pattern = f"{self.kind}_{split}*.json"
        found = sorted((folder / "annotations").glob(pattern))
        if len(found) > 1 or (split == "train" and not found):
            what = f"{len(found)} files" if found else "no file"
            raise UserError(f"{folder / 'annotations'} has {what} {pattern}; it needs one")
        return found[0] if found else None
