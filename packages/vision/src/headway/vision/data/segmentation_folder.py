"""A data module of pictures with masks."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler
from torchvision import tv_tensors
from torchvision.transforms import v2

from headway.core.errors import UserError
from headway.core.training import DataModule, LoaderOptions, Passed
from headway.core.training.invalid import InvalidItems, OnInvalid
from headway.core.training.sampling import Shard
from headway.core.training.splits import part_size
from headway.vision.data.class_files import USUAL
from headway.vision.data.mask_layouts import MaskFolder, Pair, find_pairs
from headway.vision.data.mask_preprocessing import SegmentationPreprocessing
from headway.vision.data.mask_reading import IGNORED, MaskReader, mask_reader, read_values
from headway.vision.data.masks import MaskedPicture, checked_pairs
from headway.vision.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from headway.vision.data.reading import read_image
from headway.vision.data.size_batches import SizeBatches
from headway.vision.data.sources import read_file


class MaskedDataset(Dataset[tuple[Tensor, Tensor]]):
    """Decodes one picture and its mask at a time; both move together.

    Args:
        pictures: Which ones.
        reader: Reads the masks.
        crop: Height and width that training cuts out of a picture made larger or smaller at random, and
            mirrored at random; None leaves pictures as they are.
        mean: Mean of each channel.
        std: Standard deviation of each channel.
    """

    def __init__(
        self,
        pictures: Sequence[MaskedPicture],
        reader: MaskReader,
        *,
        crop: tuple[int, int] | None = None,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        self.pictures, self.reader = pictures, reader
        # What a batch is of: pictures that are cut have one size.
        self.sizes = [one.size if crop is None else tuple(crop) for one in pictures]
        moves: list[Any] = []
        if crop is not None:
            moves = [
                v2.RandomResizedCrop(crop, scale=(0.25, 1.0), antialias=True),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(0.3, 0.3, 0.3),
            ]
        scale = v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True)
        self.transform = v2.Compose([*moves, scale, v2.Normalize(list(mean), list(std))])

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pair = self.pictures[index]
        image = tv_tensors.Image(read_image(read_file(pair.picture), str(pair.picture)))
        mask = tv_tensors.Mask(torch.from_numpy(self.reader.read(pair.mask)))
        image, mask = self.transform(image, mask)
        return image.as_subclass(Tensor), mask.as_subclass(Tensor).long()


class SegmentationFolder(DataModule):
    """Pictures and masks as they lie in a folder; ``headway.vision.data.mask_layouts`` says how.

    Masks are grey or palette pictures of ids, or RGB pictures of the colours that ``class_names`` says. A
    batch has pictures of one size and the place of the class of each pixel, -1 where it does not count.

    Args:
        path: The folder.
        class_names: Names of the classes in the order of the ids, or a file that names them with their ids or
            colours (``class_files.read_class_file``); that of a usual name in the folder if None.
        ignore: Ids, or names of classes of the file, of pixels that are neither learned nor counted; 255 if
            None.
        val: Share (float) or number (int) of the training pictures that are drawn by the seed for validation
            where nothing tells splits apart; 0 for none.
        test: The same for the test.
        crop: As of ``MaskedDataset``, in training.
        mean: Mean of each channel.
        std: Standard deviation of each channel.
        batch_size: Pictures of a batch.
        on_invalid: What happens to pictures and masks that cannot be used.
        **loader: As of every ``DataModule``.

    Attributes:
        class_pixels: Pixels of each class in the training masks, once they are read.
    """

    class_pixels: np.ndarray | None = None

    def __init__(
        self,
        *,
        path: str,
        class_names: Sequence[str] | str | None = None,
        ignore: int | str | Sequence[int | str] | None = None,
        val: int | float = 0.1,
        test: int | float = 0,
        crop: tuple[int, int] | None = None,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        batch_size: int = 8,
        on_invalid: OnInvalid = "raise",
        **loader: Passed[LoaderOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, **loader)
        self.path, self.crop, self.val, self.test = path, crop, val, test
        self.pixels = SegmentationPreprocessing(mean=tuple(mean), std=tuple(std))
        self.invalid = InvalidItems(on_invalid, "pictures and masks")
        self.ignore = IGNORED
        folder = Path(path).expanduser()
        self.reader = mask_reader(
            usual_file(folder) if class_names is None else class_names, ignore
        )
        self.classes = self.reader.classes.names

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def preprocessing(self) -> dict[str, Any]:
        """Returns the classes, their ids and colours, mean, std, and that it is about segmentation."""
        about = {"task": "segmentation", **self.reader.classes.as_dict()}
        return {**about, "mean": list(self.pixels.mean), "std": list(self.pixels.std)}

    def setup(self, stage: str | None = None) -> None:
        """Finds, reads and checks all pictures and masks, once."""
        if self.train_set is not None:
            return
        folder = find_pairs(Path(self.path).expanduser())
        total = 0
        for split, pairs in self.parts(folder).items():
            found, pixels = checked_pairs(pairs, self.reader, self.invalid)
            if not found:
                first = next((e for e in self.invalid.errors), None)
                raise UserError(
                    f"{folder.path} has no picture with a mask in {split} that can be used; the first of "
                    f"{len(pairs)}: {first}"
                )
            total += len(pairs)
            if split == "train":
                self.class_pixels = pixels
            crop = self.crop if split == "train" else None
            sized = {"mean": self.pixels.mean, "std": self.pixels.std}
            setattr(self, f"{split}_set", MaskedDataset(found, self.reader, crop=crop, **sized))
        self.invalid.log(total)
        self.predict_set = self.test_set or self.val_set

    def parts(self, folder: MaskFolder) -> dict[str, list[Pair]]:
        """Returns the pairs of each split; where nothing tells them apart, the seed does."""
        if folder.split:
            return folder.parts
        pairs = folder.parts["train"]
        order = np.random.Generator(np.random.PCG64([self.seed, len(pairs)])).permutation(
            len(pairs)
        )
        sizes = {
            split: part_size(share, len(pairs), split, "pictures")
            for split, share in (("val", self.val), ("test", self.test))
        }
        parts, start = {}, 0
        for split, size in sizes.items():
            if size:
                parts[split] = [pairs[k] for k in sorted(order[start : start + size])]
            start += size
        rest = [pairs[k] for k in sorted(order[start:])]
        if not rest:
            raise UserError(
                f"val {self.val} and test {self.test} leave none of {len(pairs)} pictures for training"
            )
        return {"train": rest, **parts}

    def train_batches(self, order: Sampler[int]) -> Iterable[list[int]]:
        """Groups pictures of one size."""
        assert isinstance(self.train_set, MaskedDataset)
        sizes = self.train_set.sizes
        if len(set(sizes)) == 1:
            return BatchSampler(order, self.batch_size, self.drop_last)
        if self._place()[1] > 1:
            raise UserError(
                "training pictures have several sizes, which devices would share unevenly; set crop"
            )
        return SizeBatches(order, sizes, self.batch_size, drop_last=self.drop_last)

    def _eval_loader(self, data: Dataset[Any]) -> DataLoader[Any]:
        assert isinstance(data, MaskedDataset)
        rank, world = self._place()
        order = Shard(len(data), rank=rank, world=world)
        return DataLoader(
            self.seeded(data),
            batch_sampler=SizeBatches(order, data.sizes, self.eval_batch_size),  # pyright: ignore[reportArgumentType]
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=self._pin_memory(),
        )


def usual_file(folder: Path) -> Path:
    """Returns the file of classes that lies in a folder.

    Raises:
        UserError: If there is none; the message has the ids of the first mask.
    """
    places = [folder / name for name in USUAL if (folder / name).is_file()]
    if places:
        return places[0]
    mask = next(pair.mask for pair in find_pairs(folder).parts["train"] if pair.mask is not None)
    values = read_values(mask)
    seen = (
        f"the ids {np.unique(values)[:12].tolist()}"
        if values.ndim == 2
        else f"the colours {np.unique(values.reshape(-1, 3), axis=0)[:6].tolist()}"
    )
    raise UserError(
        f"class_names is missing: give names in the order of their ids, or a file of names (none of "
        f"{', '.join(USUAL[:4])} ... is in {folder}); {mask.name} has {seen}"
    )
