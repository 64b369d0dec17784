"""Blocks of convolutions that become one convolution each when they have learned."""

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.module import Module
from headway.vision.layers.conv_norm import ActivationFactory, ConvNorm, NormFactory


class RepBlock(Module):
    """A 3x3 and a 1x1 convolution side by side; in ``fused`` form they are one.

    Args:
        channels: Channels of the map.
        norm: Builds the norms, ``(channels)``.
        activation: Builds the activation of the sum.

    Shape:
        x: (B, channels, H, W). Output: the same.

    Source:
        Ding et al. 2021 (RepVGG), https://arxiv.org/abs/2101.03697, section 3.3.
    """

    def __init__(
        self,
        channels: int,
        *,
        norm: NormFactory = nn.BatchNorm2d,
        activation: ActivationFactory = nn.SiLU,
    ) -> None:
        super().__init__()
        self.wide = ConvNorm(channels, channels, kernel=3, norm=norm)
        self.narrow = ConvNorm(channels, channels, kernel=1, norm=norm)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        """Adds both."""
        return self.activation(self.wide(x) + self.narrow(x))


class CSPBlock(Module):
    """Two 1x1 convolutions of the input; blocks behind the first, and a third convolution of the sum.

    Args:
        channels: Input channels.
        out: Output channels.
        depth: ``RepBlock``s.
        expansion: Channels of the blocks as a share of ``out``; at 1 there is no third convolution.
        norm: Builds the norms, ``(dim)``.
        activation: Builds the activations.

    Shape:
        x: (B, channels, H, W). Output: (B, out, H, W).

    Source:
        Zhao et al. 2023 (RT-DETR), https://arxiv.org/abs/2304.08069, figure 4 (fusion block).
    """

    def __init__(
        self,
        channels: int,
        out: int,
        *,
        depth: int = 3,
        expansion: float = 1.0,
        norm: NormFactory = nn.BatchNorm2d,
        activation: ActivationFactory = nn.SiLU,
    ) -> None:
        super().__init__()
        hidden = int(out * expansion)
        if hidden < 1:
            raise UserError(f"expansion {expansion} of {out} channels leaves none")
        self.first = ConvNorm(channels, hidden, norm=norm, activation=activation)
        self.second = ConvNorm(channels, hidden, norm=norm, activation=activation)
        self.blocks = nn.Sequential(
            *(RepBlock(hidden, norm=norm, activation=activation) for _ in range(depth))
        )
        self.third = (
            ConvNorm(hidden, out, norm=norm, activation=activation) if hidden != out else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Adds both branches."""
        x = self.blocks(self.first(x)) + self.second(x)
        return self.third(x) if self.third is not None else x
