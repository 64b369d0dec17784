"""Layer normalisation over a whole item."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.module import Module


class GlobalLayerNorm(Module):
    """Centres and scales an item as a whole, then applies a learned gain and bias to each channel.

    All tokens and channels have one mean and variance: what ``torch.nn.GroupNorm`` with one group does
    to (B, C, H, W). Padding would count, and of a packed sequence all items together: it is for full grids.

    Args:
        dim: Channels.
        eps: Added to the variance.

    Shape:
        x: (B, N, dim). Output: the same.

    Source:
        Wu and He 2018, https://arxiv.org/abs/1803.08494, section 3.1; the name is that of Luo and Mesgarani
        2018, https://arxiv.org/abs/1809.07454.
    """

    def __init__(self, dim: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalises all axes but the first."""
        x = F.layer_norm(x, x.shape[1:], None, None, self.eps)
        return torch.addcmul(self.bias, x, self.weight)

    def extra_repr(self) -> str:
        """Shows the width and eps."""
        return f"{self.weight.shape[0]}, eps={self.eps}"
