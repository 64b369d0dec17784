"""Data modules of pictures with boxes."""

import logging
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from headway.core.errors import UserError
from headway.core.training import DataModule, LoaderOptions, Passed
from headway.core.training.invalid import InvalidItems, OnInvalid
from headway.core.training.splits import part_size
from headway.vision.data.box_transforms import BoxAugmentation, DetectionPreprocessing
from headway.vision.data.boxed_images import BoxedImage, BoxedImages
from headway.vision.data.coco import BoxFormat, read_coco
from headway.vision.data.detection_batch import Item, Target, collate
from headway.vision.data.reading import ImageError
from headway.vision.data.voc import is_flat, read_voc, with_splits
from headway.vision.models.boxes import centred

log = logging.getLogger(__name__)


class BoxedImageDataset(Dataset[Item]):
    """Decodes and transforms one picture at a time.

    Args:
        pictures: Which ones.
        preprocessing: Sizes, mean and deviation.
        augment: The random part; None for evaluation.
    """

    def __init__(
        self,
        pictures: BoxedImages,
        *,
        preprocessing: DetectionPreprocessing,
        augment: BoxAugmentation | None = None,
    ) -> None:
        self.pictures = pictures
        self.preprocessing = preprocessing
        self.augment = augment

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Item:
        picture = self.pictures.pictures[index]
        try:
            image = picture.read(bits=self.preprocessing.bits)
        except ImageError as error:
            # Before training only the ends of files were read, unless these left doubt.
            reason = f"{error.reason}; headway data check finds all such pictures, remove them"
            raise ImageError(error.name, reason) from None
        boxes, labels, crowd = picture.boxes, picture.labels, picture.crowd
        shortest = None
        if self.augment is not None:
            image, boxes, kept, shortest = self.augment(image, boxes)
            labels, crowd = labels[kept], crowd[kept]
        target = Target(
            boxes=as_shares(boxes, (image.height, image.width)),
            labels=labels,
            crowd=crowd,
            size=torch.tensor(picture.size),
            number=torch.tensor(picture.number),
        )
        return self.preprocessing.tensor(image, shortest), target


def as_shares(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Turns left, top, right, bottom in pixels into centre, width and height as shares of the picture."""
    return centred(boxes / torch.tensor([size[1], size[0]] * 2, dtype=boxes.dtype))


class DetectionOptions(LoaderOptions, total=False):
    """What a ``DetectionData`` of a format passes on."""

    batch_size: int
    augment: BoxAugmentation | None
    shortest: int | None
    longest: int | None
    stretch: bool | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    class_names: Sequence[str] | None
    limit: int | None
    on_invalid: OnInvalid


class DetectionData(DataModule):
    """Pictures with boxes, read by a subclass.

    What a picture goes through (mean, std, sizes) is what the model's ``pretrained_cfg`` asks for, unless it
    is given here.

    Args:
        batch_size: Pictures of a batch.
        augment: The random part of training; None trains on what evaluation sees.
        shortest: Length of the shorter side in pixels.
        longest: The longer side is at most as long.
        stretch: Whether pictures become squares of ``shortest``, whatever their proportions.
        mean: Mean of each channel.
        std: Standard deviation of each channel.
        class_names: Names of the classes in the order of the labels; by default those of ``train``, as the
            format orders them: by id, number or alphabet. Objects of other classes are invalid.
        limit: Only the first pictures of each split; all if None.
        on_invalid: What happens to boxes and pictures that cannot be used. ``skip`` leaves them out and
            says which and how many.
        **loader: As of every ``DataModule``: workers, seed, shuffle, drop_last, eval_batch_size.
    """

    def __init__(
        self,
        *,
        batch_size: int = 2,
        augment: BoxAugmentation | None = None,
        shortest: int | None = None,
        longest: int | None = None,
        stretch: bool | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        class_names: Sequence[str] | None = None,
        limit: int | None = None,
        on_invalid: OnInvalid = "raise",
        **loader: Passed[LoaderOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, **loader)
        if limit is not None and limit < 1:
            raise UserError(f"limit is {limit}; leave it out for all pictures")
        if class_names is not None and not 0 < len(set(class_names)) == len(class_names):
            raise UserError(
                f"class_names {list(class_names)} must be names, each of them once; leave them out for all"
            )
        self.class_names = None if class_names is None else tuple(class_names)
        self.augment = augment
        sizes = {"shortest": shortest, "longest": longest, "stretch": stretch}
        self.given = {**sizes, "mean": mean, "std": std}
        self.limit = limit
        self.invalid = InvalidItems(on_invalid, "boxes and pictures")
        self._parts: dict[str, BoxedImages] = {}
        self._bits: int | None = None

    @abstractmethod
    def read(self, invalid: InvalidItems) -> dict[str, BoxedImages]:
        """Returns the splits that there are, ``train`` among them; all with the classes of ``train``."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels."""
        return self.parts["train"].classes

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def parts(self) -> dict[str, BoxedImages]:
        """The splits, read and checked once."""
        if not self._parts:
            found = self.read(self.invalid)
            if not any((~picture.crowd).any() for picture in found["train"].pictures):
                raise UserError("train has no box to learn from; give annotations with boxes")
            total = sum(len(part) + _boxes(part.pictures) for part in found.values())
            self.invalid.log(total + len(self.invalid.errors))
            for split, part in found.items():
                if not _boxes(part.pictures):
                    log.warning(
                        "%s has no box that can be used: it gets no scores of detection", split
                    )
            if self.limit is not None:
                found = {split: part.first(self.limit) for split, part in found.items()}
            self._parts = found
        return self._parts

    def draw_val(self, pictures: BoxedImages, val: int | float) -> dict[str, BoxedImages]:
        """Returns ``train`` and ``val``, which is drawn by the seed; the pictures of both keep their order.

        Args:
            pictures: All pictures.
            val: Share (float) or number (int) of them; a share gives at least one, 0 no ``val``.
        """
        size = part_size(val, len(pictures), "val", "pictures")
        if isinstance(val, float) and val and len(pictures) > 1:
            size = max(1, size)
        if not size:
            return {"train": pictures}
        train, drawn = pictures.split(size, self.seed)
        return {"train": train, "val": drawn}

    def preprocessing(self) -> dict[str, Any]:
        """Returns classes, their ids in COCO's format, sizes, mean, std, and that it is about detection."""
        found = self._preprocessing().as_dict()
        ids = list(self.parts["train"].category_ids)
        return {"task": "detection", "classes": list(self.classes), "category_ids": ids, **found}

    def setup(self, stage: str | None = None) -> None:
        """Reads and checks the annotations."""
        preprocessing = self._preprocessing()
        for split, pictures in self.parts.items():
            data = BoxedImageDataset(
                pictures,
                preprocessing=preprocessing,
                augment=self.augment if split == "train" else None,
            )
            setattr(self, f"{split}_set", data)
        self.predict_set = self.test_set or self.val_set

    collate = staticmethod(collate)

    def _preprocessing(self) -> DetectionPreprocessing:
        task = getattr(self.trainer, "lightning_module", None)
        cfg = dict(getattr(getattr(task, "backbone", None), "pretrained_cfg", None) or {})
        cfg.update({name: value for name, value in self.given.items() if value is not None})
        if self._bits is None:
            self._bits = self.parts["train"].bits()
        return DetectionPreprocessing.from_cfg({**cfg, "bits": self._bits})


class VOCDetection(DetectionData):
    """Pictures and boxes in Pascal VOC's format.

    Objects marked as ``difficult`` are neither learned nor counted.

    Args:
        path: The folder with ``Annotations``, ``JPEGImages`` and ``ImageSets/Main``. Without the last, all
            .xml files below it, with pictures anywhere below it, are one set, from which ``val`` is drawn.
        train: Name of the split that trains.
        val: Name of the split that validates; None for none. Without ``ImageSets/Main`` the share or
            number of pictures that are drawn; a tenth by default.
        test: Name of the split that tests; None for none. The default may be missing.
        **detection: As of every ``DetectionData``: batch_size, augment, shortest, longest, stretch, mean,
            std, limit, on_invalid, and of every ``DataModule``.

    Source:
        http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/index.html
    """

    def __init__(
        self,
        *,
        path: str,
        train: str = "train",
        val: int | float | str | None = "val",
        test: str | None = "test",
        **detection: Passed[DetectionOptions],
    ) -> None:
        super().__init__(**detection)
        self.path = path
        self.splits = {"train": train, "val": val, "test": test}

    def read(self, invalid: InvalidItems) -> dict[str, BoxedImages]:
        """Reads the splits."""
        path = Path(self.path).expanduser()
        if not path.is_dir():
            raise UserError(
                f"{path} is no folder; path is one with Annotations, JPEGImages and ImageSets/Main"
            )
        path = with_splits(path)
        if is_flat(path):
            return self._drawn(read_voc(path, None, invalid, self.class_names))
        parts: dict[str, BoxedImages] = {}
        for split, name in self.splits.items():
            if name is None:
                continue
            if not isinstance(name, str):
                raise UserError(f"{split} is {name}, but {path} names its splits in ImageSets/Main")
            # Few data sets have a test split; one that was asked for by another name must be there.
            if split == name == "test" and not (path / f"ImageSets/Main/{name}.txt").is_file():
                continue
            classes = parts["train"].classes if parts else self.class_names
            parts[split] = read_voc(path, name, invalid, classes)
        return parts

    def _drawn(self, pictures: BoxedImages) -> dict[str, BoxedImages]:
        val = self.splits["val"]
        if val == "val":
            val = 0.1
        if isinstance(val, str) or (self.splits["train"], self.splits["test"] or "test") != (
            "train",
            "test",
        ):
            raise UserError(
                f"{self.path} has no ImageSets/Main, so no splits by name; val is a share or a number"
            )
        return self.draw_val(pictures, val or 0)


class COCODetection(DetectionData):
    """Pictures and boxes in COCO's format.

    Args:
        train: Annotation file (JSON) of the training pictures.
        pictures: Folder of the pictures; ``file_name`` in the annotations is relative to it, or a name that
            is found somewhere below. By default they are looked for beside and below the annotation file,
            and where that lies in a folder like ``annotations``, beside and below that folder.
        val: Annotation file of the validation pictures; or the share or number of those of ``train`` that
            are drawn for it; None for none.
        boxes: Whether a bbox is left, top, width and height (``xywh``, the format) or left, top, right and
            bottom (``xyxy``); None takes the first and refuses a file that looks like the second.
        test: Annotation file of the test pictures; None for none.
        **detection: As of every ``DetectionData``: batch_size, augment, shortest, longest, stretch, mean,
            std, limit, on_invalid, and of every ``DataModule``.

    Source:
        https://cocodataset.org/#format-data
    """

    def __init__(
        self,
        *,
        train: str,
        pictures: str | None = None,
        val: int | float | str | None = None,
        test: str | None = None,
        boxes: BoxFormat | None = None,
        **detection: Passed[DetectionOptions],
    ) -> None:
        super().__init__(**detection)
        self.pictures = pictures
        self.boxes: BoxFormat | None = boxes
        self.files = {"train": train, "val": val, "test": test}

    def read(self, invalid: InvalidItems) -> dict[str, BoxedImages]:
        """Reads the annotation files."""
        folder = Path(self.pictures).expanduser() if self.pictures else None
        parts: dict[str, BoxedImages] = {}
        for split, name in self.files.items():
            if isinstance(name, str):
                classes = parts["train"].classes if parts else self.class_names
                file = Path(name).expanduser()
                parts[split] = read_coco(file, folder, invalid, classes, self.boxes)
        val = self.files["val"]
        if isinstance(val, int | float):
            parts |= self.draw_val(parts["train"], val)
        return parts


def _boxes(pictures: tuple[BoxedImage, ...]) -> int:
    return sum(len(picture.boxes) for picture in pictures)
