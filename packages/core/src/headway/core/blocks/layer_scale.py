"""A learned scale of each residual branch."""

import torch
from torch import Tensor, nn

from headway.core.module import Module


class LayerScale(Module):
    """Multiplies each channel of a branch by a learned number that starts small.

    Args:
        dim: Channels.
        value: Where the numbers start.

    Shape:
        x: (..., dim). Output: the same.

    Source:
        Touvron et al. 2021, https://arxiv.org/abs/2103.17239, eq. 4.
    """

    def __init__(self, dim: int, value: float = 1e-5) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), value))

    def forward(self, x: Tensor) -> Tensor:
        """Scales the channels."""
        return x * self.gamma
