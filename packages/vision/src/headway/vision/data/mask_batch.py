"""Pictures and the masks of their objects as one batch."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from headway.vision.models.masks import MaskTarget


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
