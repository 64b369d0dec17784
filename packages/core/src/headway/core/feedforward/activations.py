"""Activations that torch lacks."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError


class GELU(nn.GELU):
    """``x * Phi(x)``, written over ``x`` unless the backward pass needs it.

    The hidden layer is the largest tensor of a transformer. In inference a second one of that size
    costs a tenth of the time of a ViT on the CPU, which has to fetch fresh pages for it in every block.

    Args:
        approximate: "none", or "tanh" for the approximation with a hyperbolic tangent.

    Raises:
        UserError: If it is neither.

    Source:
        Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415.
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__(approximate)
        if approximate not in ("none", "tanh"):
            raise UserError(f'approximate is {approximate!r}; use "none" or "tanh"')

    def forward(self, input: Tensor) -> Tensor:
        """Applies the activation to each element."""
        if input.requires_grad:
            return F.gelu(input, approximate=self.approximate)
        return torch.ops.aten.gelu_(input, approximate=self.approximate)


class QuickGELU(nn.Module):
    """``x * sigmoid(1.702 x)``, the approximation of GELU that OpenAI's CLIP was trained with.

    Source:
        Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415, section 2.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Applies the activation to each element."""
        return x * torch.sigmoid(1.702 * x)
