"""Handwritten digits that ship with scikit-learn: trains in seconds and needs no download."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

from headway.core.errors import UserError
from headway.core.training.splits import part_size
from headway.vision.data.arrays import LabelledArrays
from headway.vision.data.batch_augmentation import BatchAugmentation
from headway.vision.data.in_memory import InMemoryImages
from headway.vision.data.splits import stratified_split


class Digits(InMemoryImages):
    """1,797 grey pictures of 8x8 pixels, 10 classes; a stratified fifth is the test split.

    Args:
        batch_size: Pictures of a batch.
        workers: Processes that load.
        seed: Of the order and the augmentation.
        drop_last: Leaves out the last training batch when it is smaller.
        eval_batch_size: Pictures of a batch of validation and test; by default ``batch_size``.
        augment: What happens to training pictures, in this order.
        val: Share or number of the training pictures that validate instead.
        test: Share or number of all pictures that make the test split.
        split_seed: Of both splits.
        validate_on_test: Trains on all training pictures and validates on the test split.
        mean: Mean of each channel; by default that of the training split.
        std: Standard deviation of each channel; by default that of the training split.
        channels: 3 repeats the grey value, so that any image classifier fits; 1 keeps it.

    Source:
        Alpaydin and Kaynak 1998, https://archive.ics.uci.edu/dataset/80 (its test part).
    """

    def __init__(
        self,
        *,
        batch_size: int = 64,
        workers: int = 0,
        seed: int = 0,
        drop_last: bool = False,
        eval_batch_size: int | None = None,
        augment: BatchAugmentation | Sequence[BatchAugmentation] | None = None,
        val: int | float = 0.1,
        test: int | float = 0.2,
        split_seed: int = 0,
        validate_on_test: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        channels: Literal[1, 3] = 3,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            workers=workers,
            seed=seed,
            drop_last=drop_last,
            eval_batch_size=eval_batch_size,
            augment=augment,
            val=val,
            split_seed=split_seed,
            validate_on_test=validate_on_test,
            mean=mean,
            std=std,
        )
        self.test = test
        self.channels = channels

    def load(self) -> tuple[LabelledArrays, LabelledArrays]:
        """Reads scikit-learn's file and splits it."""
        try:
            from sklearn.datasets import load_digits
        except ImportError:
            raise UserError(
                "the digits come with scikit-learn: pip install headway[vision]"
            ) from None
        found: Any = load_digits()
        # The values are 0..16.
        grey = np.rint(found.images * (255 / 16)).astype(np.uint8)
        images = torch.from_numpy(grey)[:, None].repeat(1, self.channels, 1, 1)
        data = LabelledArrays(
            images=images,
            labels=torch.from_numpy(found.target.astype(np.int64)),
            classes=tuple(str(digit) for digit in range(10)),
        )
        size = part_size(self.test, len(data), "test")
        stay, gone = stratified_split(found.target, size, self.split_seed)
        return data.take(stay), data.take(gone)
