"""From tokens to boxes."""

from collections.abc import Callable

from torch import Tensor, nn

from headway.core.module import Module


class BoxHead(Module):
    """Three linear layers that give centre, width and height of a box as shares of the picture.

    Args:
        dim: Channels of a token.
        out: What the last layer gives, for a subclass or a model that makes boxes of something else.
        activation: Builds the activations between the layers.

    Shape:
        x: (B, N, dim). Output: (B, N, 4) in 0..1.

    Source:
        Carion et al. 2020 (DETR), https://arxiv.org/abs/2005.12872, section 3.2.
    """

    def __init__(
        self, dim: int, *, out: int = 4, activation: Callable[[], nn.Module] = nn.ReLU
    ) -> None:
        super().__init__()
        self.activation = activation()
        self.layers = nn.ModuleList([nn.Linear(dim, one) for one in (dim, dim, out)])

    def stay_(self) -> None:
        """Begins with a last layer of zeros: whatever the tokens are, no box is moved."""
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)

    def logits(self, x: Tensor) -> Tensor:
        """Returns the boxes before the sigmoid, to which those of another block may be added."""
        first, second, last = self.layers
        return last(self.activation(second(self.activation(first(x)))))

    def forward(self, x: Tensor) -> Tensor:
        """Computes the boxes."""
        return self.logits(x).sigmoid()
