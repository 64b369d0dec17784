"""The feed-forward of the original transformer."""

from collections.abc import Callable

from torch import Tensor, nn

from headway.core.dropout import Dropout
from headway.core.feedforward.activations import GELU
from headway.core.feedforward.base import FeedForward, hidden_width
from headway.core.layout import Layout


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
