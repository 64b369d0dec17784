"""Two ways to write a box."""

import torch
from torch import Tensor


def corners(boxes: Tensor) -> Tensor:
    """Returns left, top, right and bottom of boxes (..., 4) with centre, width and height."""
    centre, size = boxes.chunk(2, dim=-1)
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)


def centred(boxes: Tensor) -> Tensor:
    """Returns centre, width and height of boxes (..., 4) with left, top, right and bottom."""
    first, last = boxes.chunk(2, dim=-1)
    return torch.cat([(first + last) / 2, last - first], dim=-1)
