"""Pictures and the masks of their objects as one batch."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class MaskTarget(NamedTuple):
    """The objects, or segments, of one picture.

    Args:
        masks: Whether a pixel belongs to it, (N, H, W) bool.
        labels: Classes, (N,) int64.
        crowd: Whether it is many objects in one; such masks are evaluated, but not learned, (N,) bool.
    """

    masks: Tensor
    labels: Tensor
    crowd: Tensor


class MaskBatch(NamedTuple):
    """Pictures of one size.

    Args:
        images: The pictures, (B, 3, H, W).
        targets: The objects of each picture.
    """

    images: Tensor
    targets: list[MaskTarget]


MaskItem = tuple[Tensor, MaskTarget]


def collate_masks(items: Sequence[MaskItem]) -> MaskBatch:
    """Makes a batch of pictures of one size."""
    return MaskBatch(torch.stack([image for image, _ in items]), [target for _, target in items])
