"""Pictures of several sizes and their objects as one batch."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Target(NamedTuple):
    """The objects of one picture.

    Args:
        boxes: Centre x, centre y, width and height as shares of the picture that the model sees, (N, 4).
        labels: Classes, (N,) int64.
        crowd: Whether a box holds many objects; such boxes are evaluated, but not learned, (N,) bool.
        size: Height and width of the picture as it is on the disk, (2,).
        number: Number of the picture in its data set, ().
    """

    boxes: Tensor
    labels: Tensor
    crowd: Tensor
    size: Tensor
    number: Tensor


class DetectionBatch(NamedTuple):
    """Pictures of several sizes in one tensor.

    Args:
        images: Filled up with zeros on the right and at the bottom, (B, 3, H, W).
        sizes: Height and width of each picture, (B, 2).
        targets: The objects of each picture.
    """

    images: Tensor
    sizes: Tensor
    targets: list[Target]


Item = tuple[Tensor, Target]


def fill_up(images: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Puts pictures of several sizes into one tensor, filled up with zeros on the right and at the bottom.

    Shape:
        images: (C, H, W) each. Output: (B, C, H, W), and heights and widths, (B, 2).
    """
    height = max(image.shape[1] for image in images)
    width = max(image.shape[2] for image in images)
    filled = [F.pad(x, (0, width - x.shape[2], 0, height - x.shape[1])) for x in images]
    return torch.stack(filled), torch.tensor([image.shape[1:] for image in images])


def collate(items: list[Item]) -> DetectionBatch:
    """Makes a batch of pictures of several sizes."""
    images, sizes = fill_up([image for image, _ in items])
    return DetectionBatch(images, sizes, [target for _, target in items])
