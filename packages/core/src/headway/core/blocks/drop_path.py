"""Stochastic depth."""

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.module import Module


class DropPath(Module):
    """Drops the whole branch of an item in training, and scales the kept ones up.

    Args:
        rate: Probability of dropping.

    Shape:
        x: (B, ...). Output: the same.

    Source:
        Huang et al. 2016, https://arxiv.org/abs/1603.09382.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0.0 <= rate < 1.0:
            raise UserError(f"the rate of DropPath must be in [0, 1), got {rate}")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Drops branches in training; does nothing otherwise."""
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        kept = torch.empty(x.shape[0], *([1] * (x.ndim - 1)), dtype=x.dtype, device=x.device)
        return x * kept.bernoulli_(keep).div_(keep)

    def extra_repr(self) -> str:
        """Shows the rate."""
        return f"rate={self.rate}"
