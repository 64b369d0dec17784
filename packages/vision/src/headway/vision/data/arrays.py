"""Small data sets that lie in memory as uint8 arrays."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from torch.utils.data import Dataset

from headway.core.errors import UserError
from headway.core.files import atomic_write
from headway.core.training.loader import Seeded
from headway.vision.data.batch_augmentation import BatchAugmentation
from headway.vision.data.preprocessing import Preprocessing
from headway.vision.data.randomness import keys
from headway.vision.data.transforms import normalize


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledArrays:
    """Pictures of one size with labels.

    Args:
        images: Values of 0..255.
        labels: Class indices.
        classes: Names of the classes.
        skipped: Name and reason of each file that was left out.

    Shape:
        images: (N, C, H, W) uint8. labels: (N,) int64.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: NDArray[np.int64]) -> Self:
        """Returns some of the pictures."""
        chosen = torch.from_numpy(indices)
        return replace(self, images=self.images[chosen], labels=self.labels[chosen])

    def save(self, path: Path) -> None:
        """Writes one safetensors file, whole or not at all."""
        notes = json.dumps({"classes": self.classes, "skipped": self.skipped})
        with atomic_write(path) as file:
            file.write(save({"images": self.images, "labels": self.labels}, {"notes": notes}))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what ``save`` wrote."""
        with safe_open(path, framework="pt") as file:
            notes = json.loads(file.metadata()["notes"])
            return cls(
                images=file.get_tensor("images"),
                labels=file.get_tensor("labels"),
                classes=tuple(notes["classes"]),
                skipped=tuple((name, reason) for name, reason in notes["skipped"]),
            )

    def channel_statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Returns mean and standard deviation of each channel, of values in 0..1."""
        values = np.arange(256) / 255
        means, stds = [], []
        for channel in range(self.images.shape[1]):
            share = torch.bincount(self.images[:, channel].flatten(), minlength=256).numpy()
            share = share / share.sum()
            mean = float(share @ values)
            means.append(round(mean, 4))
            stds.append(round(float(np.sqrt(share @ (values - mean) ** 2)), 4))
        return tuple(means), tuple(stds)


class ArrayDataset(Dataset[tuple[Tensor, Tensor]]):
    """Gives whole batches of augmented, normalised pictures.

    The augmentation of a picture is a function of (seed, epoch, index), so that a resumed run sees what
    the unbroken one would have seen, in whatever batch.

    Args:
        arrays: The pictures.
        preprocessing: Mean and standard deviation.
        augmentations: Applied one after the other; none for evaluation.
        seed: Of the augmentation.
    """

    def __init__(
        self,
        arrays: LabelledArrays,
        *,
        preprocessing: Preprocessing,
        augmentations: Sequence[BatchAugmentation] = (),
        seed: int = 0,
    ) -> None:
        if len(arrays) == 0:
            raise UserError("the data set holds no pictures")
        self.arrays = arrays
        self.preprocessing = preprocessing
        self.augmentations = tuple(augmentations)
        self.seed = seed

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        images, labels = self.batch([index])
        return images[0], labels[0]

    def batch(self, indices: Sequence[int], epoch: int = 0) -> tuple[Tensor, Tensor]:
        """Returns pictures and labels of a batch.

        Args:
            indices: Which pictures.
            epoch: Whose random numbers are used.

        Shape:
            Output: (B, C, H, W) float32, (B,) int64.
        """
        chosen = torch.as_tensor(indices)
        images = self.arrays.images[chosen]
        if self.augmentations:
            key = keys(self.seed, epoch, chosen.numpy())
            for augmentation in self.augmentations:
                images = augmentation(images, key)
        return normalize(images, self.preprocessing), self.arrays.labels[chosen]


class BatchesOf(Seeded):
    """Whole batches of an ``ArrayDataset``; its keys make the seeding of single items superfluous."""

    data: ArrayDataset

    def __getitems__(self, places: list[int | tuple[int, int]]) -> Any:
        """Returns the collated batch of some places, which are indices or (epoch, index)."""
        epochs, indices = zip(
            *(place if isinstance(place, tuple) else (0, place) for place in places), strict=True
        )
        # A batch never spans two epochs.
        return self.data.batch(indices, epochs[0])

    def __getitem__(self, place: int | tuple[int, int]) -> Any:
        images, labels = self.__getitems__([place])
        return images[0], labels[0]
