"""Dropout of given draws in plain PyTorch."""

import torch
from torch import Tensor

from headway.core.ops.draws import kept_positions


def dropout(x: Tensor, seed: int | Tensor, rate: float) -> Tensor:
    """Zero where an element is dropped, and the others grown by 1 / (1 - rate)."""
    numbers = torch.arange(x.numel(), device=x.device).view(x.shape)
    return x * kept_positions(numbers, seed, rate).to(x.dtype) / (1.0 - rate)
