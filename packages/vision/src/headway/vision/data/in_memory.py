"""The data module of small pictures that lie in memory."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from headway.core.errors import UserError
from headway.core.training import DataModule, LoaderOptions, Passed
from headway.core.training.loader import Seeded
from headway.core.training.splits import part_size
from headway.vision.data.arrays import ArrayDataset, BatchesOf, LabelledArrays
from headway.vision.data.batch_augmentation import BatchAugmentation
from headway.vision.data.preprocessing import Preprocessing
from headway.vision.data.splits import stratified_split


class InMemoryOptions(LoaderOptions, total=False):
    """What an ``InMemoryImages`` of known pictures passes on."""

    augment: BatchAugmentation | Sequence[BatchAugmentation] | None
    split_seed: int
    validate_on_test: bool
    mean: Sequence[float] | None
    std: Sequence[float] | None


class InMemoryImages(DataModule):
    """Small labelled pictures, augmented in whole batches.

    Reading and augmenting a batch costs less than a millisecond, so ``workers`` of 0 is the fastest.

    Args:
        batch_size: Pictures of a batch.
        augment: What happens to training pictures, in this order.
        val: Share (float) or number (int) of the training pictures that validate instead, the same
            share of every class.
        split_seed: Of that split, apart from ``seed`` so that runs of several seeds share it.
        validate_on_test: Trains on all training pictures and validates on the test split. A score
            chosen this way is no test score.
        mean: Mean of each channel; by default that of the training split.
        std: Standard deviation of each channel; by default that of the training split.
        **loader: As of every ``DataModule``: workers, seed, shuffle, drop_last, eval_batch_size.
    """

    def __init__(
        self,
        *,
        batch_size: int = 128,
        augment: BatchAugmentation | Sequence[BatchAugmentation] | None = None,
        val: int | float = 0.1,
        split_seed: int = 0,
        validate_on_test: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        **loader: Passed[LoaderOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, **loader)
        if isinstance(augment, BatchAugmentation):
            augment = [augment]
        if (mean is None) != (std is None):
            raise UserError("give mean and std together, or neither to take the training split's")
        self.augmentations = tuple(augment or ())
        self.val = val
        self.split_seed = split_seed
        self.validate_on_test = validate_on_test
        self.mean = mean
        self.std = std
        self._preprocessing: Preprocessing | None = None
        self._classes: tuple[str, ...] = ()

    @abstractmethod
    def load(self) -> tuple[LabelledArrays, LabelledArrays]:
        """Returns the training pictures and the test pictures."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels."""
        self.setup("fit")
        return self._classes

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def preprocessing(self) -> dict[str, Any]:
        """Returns classes, input size, mean, std, interpolation, crop_pct and crop_mode."""
        self.setup("fit")
        assert self._preprocessing is not None
        return {"classes": list(self._classes), **self._preprocessing.as_dict()}

    def setup(self, stage: str | None = None) -> None:
        """Reads and splits the pictures, once."""
        if self._preprocessing is not None:
            return
        train, test = self.load()
        val = test
        if not self.validate_on_test:
            size = part_size(self.val, len(train), "val")
            stay, gone = stratified_split(train.labels.numpy(), size, self.split_seed)
            train, val = train.take(stay), train.take(gone)
        preprocessing = self._preprocessing_of(train)
        self.train_set = ArrayDataset(
            train, preprocessing=preprocessing, augmentations=self.augmentations, seed=self.seed
        )
        if len(val):
            self.val_set = ArrayDataset(val, preprocessing=preprocessing)
        self.test_set = ArrayDataset(test, preprocessing=preprocessing)
        self.predict_set = self.test_set
        self._preprocessing, self._classes = preprocessing, train.classes

    def _preprocessing_of(self, train: LabelledArrays) -> Preprocessing:
        channels, height, width = train.images.shape[1:]
        if self.mean is None or self.std is None:
            mean, std = train.channel_statistics()
        else:
            mean, std = tuple(self.mean), tuple(self.std)
        return Preprocessing(
            input_size=(channels, height, width),
            mean=mean,
            std=tuple(np.maximum(std, 1e-3).tolist()),
            crop_pct=1.0,
            crop_mode="squash",
        )

    def seeded(self, data: Dataset[Any]) -> Seeded:
        """Lets a data set of arrays make whole batches itself."""
        if isinstance(data, ArrayDataset):
            return BatchesOf(data, seed=self.seed)
        return super().seeded(data)

    @staticmethod
    def collate(  # pyright: ignore[reportIncompatibleVariableOverride]
        batch: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Leaves the batch as the data set made it."""
        return batch
