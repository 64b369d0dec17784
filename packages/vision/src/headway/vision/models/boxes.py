"""Ways to write a box."""

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


def rows_first(places: Tensor) -> Tensor:
    """Returns points (..., 2) or boxes (..., 4) with row before column, which have x before y."""
    return places.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
