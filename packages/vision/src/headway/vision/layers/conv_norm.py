"""A convolution with a norm and an activation, as detectors have many."""

from collections.abc import Callable

from torch import Tensor, nn

from headway.core.module import Module

NormFactory = Callable[[int], nn.Module]
ActivationFactory = Callable[[], nn.Module]


class ConvNorm(Module):
    """Convolution without a bias, norm, activation.

    Args:
        channels: Input channels.
        out: Output channels.
        kernel: Side of the kernel, odd.
        stride: By how much the map shrinks.
        groups: Groups of channels.
        norm: Builds the norm, ``(out)``.
        activation: Builds the activation; none if None.

    Shape:
        x: (B, channels, H, W). Output: (B, out, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(
        self,
        channels: int,
        out: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        norm: NormFactory = nn.BatchNorm2d,
        activation: ActivationFactory | None = None,
    ) -> None:
        super().__init__()
        padding = kernel // 2
        self.conv = nn.Conv2d(channels, out, kernel, stride, padding, groups=groups, bias=False)
        self.norm = norm(out)
        self.activation = activation() if activation is not None else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Convolves, normalises and activates."""
        return self.activation(self.norm(self.conv(x)))
