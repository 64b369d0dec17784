"""Handwritten digits that ship with scikit-learn: trains in seconds and needs no download."""

from typing import Any, Literal

import numpy as np
import torch

from headway.core.errors import UserError
from headway.core.training import Passed
from headway.core.training.splits import part_size
from headway.vision.data.arrays import LabelledArrays
from headway.vision.data.in_memory import InMemoryImages, InMemoryOptions
from headway.vision.data.splits import stratified_split


class Digits(InMemoryImages):
    """1,797 grey pictures of 8x8 pixels, 10 classes; a stratified fifth is the test split.

    Args:
        batch_size: Pictures of a batch.
        val: Share or number of the training pictures that validate instead.
        test: Share or number of all pictures that make the test split.
        channels: 3 repeats the grey value, so that any image classifier fits; 1 keeps it.
        **images: As of every ``InMemoryImages``: augment, split_seed, validate_on_test, mean, std, and of
            every ``DataModule``.

    Source:
        Alpaydin and Kaynak 1998, https://archive.ics.uci.edu/dataset/80 (its test part).
    """

    def __init__(
        self,
        *,
        batch_size: int = 64,
        val: int | float = 0.1,
        test: int | float = 0.2,
        channels: Literal[1, 3] = 3,
        **images: Passed[InMemoryOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, val=val, **images)
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
