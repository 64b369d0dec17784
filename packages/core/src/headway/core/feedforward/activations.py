"""Activations that torch lacks."""

import torch
from torch import Tensor, nn


class QuickGELU(nn.Module):
    """``x * sigmoid(1.702 x)``, the approximation of GELU that OpenAI's CLIP was trained with.

    Source:
        Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415, section 2.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Applies the activation to each element."""
        return x * torch.sigmoid(1.702 * x)
