"""Activations of convolutions over samples."""

import torch
from torch import Tensor, nn


class Snake(nn.Module):
    """``x + sin(a x)^2 / a`` with a learned ``a`` for each channel: what is periodic stays periodic.

    Args:
        channels: Channels.

    Shape:
        x: (B, channels, T). Output: the same.

    Source:
        Ziyin et al. 2020, https://arxiv.org/abs/2006.08195, as HiFi-SR's code has it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Adds the wave."""
        return x + (self.rate + 1e-9).reciprocal() * torch.sin(self.rate * x).square()
