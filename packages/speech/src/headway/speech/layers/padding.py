"""Which steps of right-padded items are real."""

import torch
from torch import Tensor


def mask_of(lengths: Tensor, size: int) -> Tensor:
    """Returns (B, size), True where a step is real."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def zero_beyond(x: Tensor, lengths: Tensor, axis: int = 1) -> Tensor:
    """Returns ``x`` with zeros beyond the length of each item along an axis."""
    shape = [x.shape[0], *[1] * (x.ndim - 1)]
    shape[axis] = x.shape[axis]
    return x.masked_fill(~mask_of(lengths, x.shape[axis]).view(shape), 0.0)
