"""Root-mean-square normalisation."""

import torch
from torch import Tensor, nn

from headway.core.module import Module
from headway.core.ops.inference import rms_norm


class RMSNorm(Module):
    """Scales each token by its root mean square, then applies a learned gain; no centring.

    Args:
        dim: Channels.
        eps: Added to the mean square.

    Shape:
        x: (..., dim). Output: the same.

    Source:
        Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467, eq. 4.
    """

    def __init__(self, dim: int, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalises the last axis."""
        return rms_norm(x, self.weight, self.eps)

    def extra_repr(self) -> str:
        """Shows the width and eps."""
        return f"{self.weight.shape[0]}, eps={self.eps}"
