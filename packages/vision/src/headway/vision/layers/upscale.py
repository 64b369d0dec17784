"""A map becomes twice as large."""

from collections.abc import Callable

from torch import Tensor, nn

from headway.core.module import Module
from headway.core.norms import LayerNorm


class Upscale(Module):
    """A transposed convolution, an activation, a convolution of each channel, and a norm of each pixel.

    Args:
        dim: Channels.
        activation: Builds the activation.

    Shape:
        x: (B, dim, H, W). Output: (B, dim, 2 H, 2 W).

    Source:
        Kerssies et al. 2025 (EoMT), https://arxiv.org/abs/2503.19108, section 3.1.
    """

    def __init__(self, dim: int, *, activation: Callable[[], nn.Module] = nn.GELU) -> None:
        super().__init__()
        self.grow = nn.ConvTranspose2d(dim, dim, 2, stride=2)
        self.activation = activation()
        self.mix = nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False)
        self.norm = LayerNorm(dim, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarges the map."""
        x = self.mix(self.activation(self.grow(x)))
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
