"""The feed-forward of the original transformer, and activations that torch lacks."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.feedforward.base import FeedForward, hidden_width
from headway.core.layout import Layout


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


class MLP(FeedForward):
    """Two linear layers with an activation between them.

    Args:
        dim: Channels of a token.
        mlp_ratio: Hidden width as a multiple of ``dim``; ignored if ``hidden_dim`` is given.
        hidden_dim: Hidden width.
        activation: Class of the activation.
        dropout: Probability of dropping a hidden or an output channel in training.
        bias: Whether both layers learn a bias.

    Shape:
        x: (B, N, dim). Output: the same.

    Source:
        Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, eq. 2.
    """

    def __init__(
        self,
        dim: int,
        *,
        mlp_ratio: float = 4.0,
        hidden_dim: int | None = None,
        activation: Callable[[], nn.Module] = GELU,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        hidden = hidden_width(dim, hidden_dim, mlp_ratio)
        self.fc1 = nn.Linear(dim, hidden, bias=bias)
        self.activation = activation()
        self.fc2 = nn.Linear(hidden, dim, bias=bias)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Transforms each token."""
        hidden = self.dropout(self.activation(self.fc1(x)))
        return self.dropout(self.fc2(hidden))
