"""A narrow feed-forward for what is learned beside a block that others share."""

from collections.abc import Callable

from torch import Tensor, nn

from headway.core.feedforward.base import FeedForward, hidden_width
from headway.core.layout import Layout
from headway.core.norms import LayerNorm


class BottleneckAdapter(FeedForward):
    """A norm and two linear layers with a narrow one between them.

    Args:
        dim: Channels of a token.
        hidden_dim: Narrow width.
        activation: Class of the activation.
        norm: Builds the norm, ``(dim)``.

    Shape:
        x: (B, N, dim). Output: the same.

    Source:
        Houlsby et al. 2019, https://arxiv.org/abs/1902.00751, with a norm in front.
    """

    def __init__(
        self,
        dim: int,
        *,
        hidden_dim: int = 32,
        activation: Callable[[], nn.Module] = nn.ReLU,
        norm: Callable[[int], nn.Module] = LayerNorm,
    ) -> None:
        super().__init__()
        width = hidden_width(dim, hidden_dim, 1.0)
        self.norm = norm(dim)
        self.down = nn.Linear(dim, width)
        self.activation = activation()
        self.up = nn.Linear(width, dim)

    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Transforms each token."""
        return self.up(self.activation(self.down(self.norm(x))))
