"""Augmentation of small pictures that lie in memory: whole uint8 batches, a fraction of a millisecond."""

from abc import ABC, abstractmethod
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.vision.data.randomness import integers, uniform


class BatchAugmentation(ABC):
    """Changes a batch of pictures at random; what happens to a picture depends on its key alone."""

    @abstractmethod
    def __call__(self, images: Tensor, key: NDArray[np.uint64]) -> Tensor:
        """Returns the changed pictures.

        Args:
            images: Pictures of 0..255, never changed in place.
            key: One random key per picture (see ``randomness.keys``).

        Shape:
            images: (B, C, H, W) uint8. key: (B,). Output: as images.
        """


class PadCropFlip(BatchAugmentation):
    """Pads, cuts a random window of the old size, and flips half of the pictures.

    Args:
        padding: Pixels on each side.
        flip: Probability of a horizontal flip; 0 for digits and letters.
        mode: ``constant`` pads with black, ``reflect`` mirrors the picture.

    Source:
        He et al. 2016, https://arxiv.org/abs/1512.03385, section 4.2.
    """

    def __init__(
        self,
        *,
        padding: int = 4,
        flip: float = 0.5,
        mode: Literal["constant", "reflect"] = "constant",
    ) -> None:
        if padding < 0:
            raise UserError(f"padding {padding} is negative")
        if not 0 <= flip <= 1:
            raise UserError(f"flip {flip} is a probability and lies in [0, 1]")
        if mode not in ("constant", "reflect"):
            raise UserError(f"mode {mode!r} is neither constant nor reflect")
        self.padding = padding
        self.flip = flip
        self.mode = mode

    def __call__(self, images: Tensor, key: NDArray[np.uint64]) -> Tensor:
        """Returns windows of the padded pictures."""
        height, width = images.shape[-2:]
        draws = uniform(key, 3, salt=1)
        top, left = integers(draws[:, :2], 0, 2 * self.padding).T.tolist()
        flips = (draws[:, 2] < self.flip).tolist()
        padded = F.pad(images, (self.padding,) * 4, mode=self.mode).numpy()
        mirrored = padded[..., ::-1]
        out = np.empty(images.shape, np.uint8)
        # Plain slices copy whole rows; gathering by index tensors is four times slower.
        for i, (y, x, flipped) in enumerate(zip(top, left, flips, strict=True)):
            out[i] = (mirrored if flipped else padded)[i, :, y : y + height, x : x + width]
        return torch.from_numpy(out)


class Cutout(BatchAugmentation):
    """Replaces a random square by grey.

    Args:
        size: Side of the square in pixels; it may hang over the border.
        probability: How often.
        value: Grey value, 0..255.

    Source:
        DeVries and Taylor 2017, https://arxiv.org/abs/1708.04552.
    """

    def __init__(self, *, size: int = 8, probability: float = 1.0, value: int = 127) -> None:
        if size < 1:
            raise UserError(f"size {size} of the square is below 1 pixel")
        if not 0 <= probability <= 1:
            raise UserError(f"probability {probability} is outside [0, 1]")
        if not 0 <= value <= 255:
            raise UserError(f"value {value} is outside 0..255")
        self.size = size
        self.probability = probability
        self.value = value

    def __call__(self, images: Tensor, key: NDArray[np.uint64]) -> Tensor:
        """Returns the pictures with a grey square each."""
        height, width = images.shape[-2:]
        draws = uniform(key, 3, salt=2)
        top = integers(draws[:, 0], 0, height - 1) - self.size // 2
        left = integers(draws[:, 1], 0, width - 1) - self.size // 2
        out = images.numpy().copy()
        for i in np.flatnonzero(draws[:, 2] < self.probability):
            y, x = max(top[i], 0), max(left[i], 0)
            out[i, :, y : top[i] + self.size, x : left[i] + self.size] = self.value
        return torch.from_numpy(out)
