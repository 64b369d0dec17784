"""Layer normalisation."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.module import Module


class LayerNorm(Module):
    """Centres and scales each token, then applies a learned gain and bias.

    Args:
        dim: Channels.
        eps: Added to the variance. timm's ViT uses 1e-6, Hugging Face's 1e-12, torch 1e-5.
        bias: Whether to learn a bias.

    Shape:
        x: (..., dim). Output: the same.

    Source:
        Ba et al. 2016, https://arxiv.org/abs/1607.06450.
    """

    def __init__(self, dim: int, *, eps: float = 1e-6, bias: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Normalises the last axis."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Shows the width and eps."""
        return f"{self.weight.shape[0]}, eps={self.eps}"
