"""Batch norm whose statistics and gains do not change."""

import torch
from torch import Tensor

from headway.core.module import Module


class FrozenBatchNorm(Module):
    """Scales and shifts each channel by fixed numbers, those that batch norm had learned.

    What a picture gives depends on no other picture, in training neither.

    Args:
        dim: Channels.
        eps: Added to the variance.

    Shape:
        x: (B, dim, H, W). Output: the same.

    Source:
        Carion et al. 2020 (DETR), https://arxiv.org/abs/2005.12872, appendix A.4.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, dim: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        for name, start in (("weight", 1.0), ("bias", 0.0)):
            self.register_buffer(name, torch.full((dim,), start))
        for name, start in (("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((dim,), start))

    def forward(self, x: Tensor) -> Tensor:
        """Scales and shifts."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale[:, None, None] + shift[:, None, None]
