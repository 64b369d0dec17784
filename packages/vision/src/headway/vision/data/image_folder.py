"""Any folder of class folders, or an archive of one."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor
from torch.utils.data import Dataset, default_collate

from headway.core.errors import UserError
from headway.core.training import DataModule, LoaderOptions, Passed
from headway.core.training.invalid import InvalidItems, OnInvalid
from headway.core.training.splits import part_size
from headway.vision.data.class_folders import (
    Pictures,
    check_classes,
    drop_broken,
    find_images,
    find_root,
    find_splits,
)
from headway.vision.data.preprocessing import Preprocessing
from headway.vision.data.reading import ImageError
from headway.vision.data.sources import open_source
from headway.vision.data.splits import stratified_split
from headway.vision.data.transforms import TrainingAugmentation, Transform, evaluation_transform

log = logging.getLogger(__name__)


class ImageDataset(Dataset[tuple[Tensor, int] | None]):
    """Decodes and transforms one picture at a time.

    Args:
        pictures: Which ones.
        transform: From a PIL image to a tensor.
        mode: Colours that the transform gets.
        on_invalid: ``skip`` gives None for a picture that breaks in spite of the check at the start.
        bits: As for ``read_image``.
    """

    def __init__(
        self,
        pictures: Pictures,
        *,
        transform: Transform,
        mode: Literal["RGB", "L"] = "RGB",
        on_invalid: OnInvalid = "raise",
        bits: int = 8,
    ) -> None:
        self.pictures = pictures
        self.bits = bits
        self.transform = transform
        self.mode: Literal["RGB", "L"] = mode
        self.on_invalid = on_invalid

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, int] | None:
        try:
            image = self.transform(self.pictures.read(index, self.mode, bits=self.bits))
        except ImageError as error:
            error = ImageError(self.pictures.names[index], error.reason)
            if self.on_invalid == "raise":
                raise error from None
            log.warning("skipped %s", error)
            return None
        return image, int(self.pictures.labels[index])


class ImageFolder(DataModule):
    """Pictures in class folders: ``path/cat/1.jpg``, or ``path/train/cat/1.jpg`` with ``val`` and ``test``.

    Grey, palette, CMYK, transparent and 16-bit pictures are converted, EXIF orientations applied; how many
    bits the values of 16-bit pictures have is seen in those of training, and stored with the model. The
    classes are the training folders, sorted. Without ``val`` or ``test`` folders the splits are carved
    from the training pictures, the same share of every class.

    What a picture goes through (size, mean, std ...) is what the model's ``pretrained_cfg`` asks for,
    unless it is given here.

    Args:
        path: A folder, or a ``.tar``, ``.tar.gz`` or ``.tgz`` of one.
        batch_size: Pictures of a batch.
        augment: The random part of training; None trains on what evaluation sees.
        val: Share or number of the training pictures that validate, if there is no ``val`` folder.
        test: Share or number of the training pictures that test, if there is no ``test`` folder; 0
            makes no test split.
        split_seed: Of these splits.
        on_invalid: What happens to files that are no picture or broken. ``skip`` leaves them out and
            says which and how many.
        image_size: Height and width.
        mean: Mean of each channel.
        std: Standard deviation of each channel.
        interpolation: Filter of the resize.
        crop_pct: Share of the resized picture that the crop keeps.
        crop_mode: ``center``, ``squash`` or ``border``.
        cache: Folder where a compressed archive is unpacked; by default the user's cache.
        **loader: As of every ``DataModule``: workers, seed, shuffle, drop_last, eval_batch_size.
    """

    def __init__(
        self,
        *,
        path: str,
        batch_size: int = 64,
        augment: TrainingAugmentation | None = None,
        val: int | float = 0.1,
        test: int | float = 0.0,
        split_seed: int = 0,
        on_invalid: OnInvalid = "raise",
        image_size: int | tuple[int, int] | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        interpolation: str | None = None,
        crop_pct: float | None = None,
        crop_mode: str | None = None,
        cache: str | None = None,
        **loader: Passed[LoaderOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, **loader)
        self.path = path
        self.augment = augment
        self.val = val
        self.test = test
        self.split_seed = split_seed
        self.invalid = InvalidItems(on_invalid)
        self.image_size = (image_size, image_size) if isinstance(image_size, int) else image_size
        self.given = {
            "mean": mean,
            "std": std,
            "interpolation": interpolation,
            "crop_pct": crop_pct,
            "crop_mode": crop_mode,
        }
        self.cache = Path(cache) if cache else None
        self._parts: dict[str, Pictures] = {}
        self._bits: int | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels."""
        return self._find()["train"].classes

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def preprocessing(self) -> dict[str, Any]:
        """Returns classes, input size, mean, std, interpolation, crop_pct and crop_mode."""
        return {"classes": list(self.classes), **self._preprocessing().as_dict()}

    def setup(self, stage: str | None = None) -> None:
        """Finds, checks and splits the pictures, and builds their transforms."""
        preprocessing = self._preprocessing()
        evaluation = evaluation_transform(preprocessing)
        training = self.augment.transform(preprocessing) if self.augment else evaluation
        for split, pictures in self._find().items():
            data = ImageDataset(
                pictures,
                transform=training if split == "train" else evaluation,
                mode="L" if preprocessing.input_size[0] == 1 else "RGB",
                on_invalid=self.invalid.policy,
                bits=preprocessing.bits,
            )
            setattr(self, f"{split}_set", data)
        self.predict_set = self.test_set or self.val_set

    @staticmethod
    def collate(items: list[tuple[Tensor, int] | None]) -> Any:
        """Makes a batch of the items that could be read."""
        whole = [item for item in items if item is not None]
        if not whole:
            raise UserError("no picture of this batch can be read; check the files named above")
        return default_collate(whole)

    def _preprocessing(self) -> Preprocessing:
        cfg: dict[str, Any] = dict(self._model_cfg())
        cfg.update({name: value for name, value in self.given.items() if value is not None})
        if self.image_size is not None:
            channels = cfg.get("input_size", (3,))[0]
            cfg["input_size"] = (channels, *self.image_size)
        if self._bits is None:
            self._bits = self._find()["train"].bits()
        return Preprocessing.from_cfg({**cfg, "bits": self._bits})

    def _model_cfg(self) -> Mapping[str, Any]:
        task = getattr(self.trainer, "lightning_module", None)
        return getattr(getattr(task, "backbone", None), "pretrained_cfg", None) or {}

    def _find(self) -> dict[str, Pictures]:
        if self._parts:
            return self._parts
        source = open_source(self.path, self.cache)
        root = find_root(source)
        splits = find_splits(source, root)
        train = self._checked(source, splits.get("train", root), None)
        parts = {}
        for split in ("test", "val"):
            if split in splits:
                parts[split] = self._checked(source, splits[split], train.classes)
                continue
            size = part_size(getattr(self, split), len(train), split)
            if size:
                stay, gone = stratified_split(train.labels, size, self.split_seed)
                train, parts[split] = train.take(stay), train.take(gone)
        self._parts = {"train": train, **parts}
        self.invalid.log(sum(map(len, self._parts.values())) + len(self.invalid.errors))
        return self._parts

    def _checked(self, source: Any, root: str, classes: tuple[str, ...] | None) -> Pictures:
        pictures = drop_broken(find_images(source, root, self.invalid, classes), self.invalid)
        if classes is None:
            check_classes(pictures)
        return pictures
