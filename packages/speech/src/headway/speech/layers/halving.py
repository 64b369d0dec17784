"""The convolution of stride 2 that stems are made of."""

from torch import Tensor, nn
from torch.nn import functional as F


class HalvingConvolution(nn.Conv2d):
    """A 3x3 convolution of stride 2: half of the frames and bands, rounded up.

    Args:
        channels: Channels of the input.
        out_channels: Channels of the output.
        groups: Groups of channels that are convolved by themselves.
        causal: Whether a frame hears itself and the two before, instead of one to either side.

    Shape:
        x: (B, channels, T, F). Output: (B, out_channels, ceil(T / 2), ceil(F / 2)).
    """

    def __init__(
        self, channels: int, out_channels: int, *, groups: int = 1, causal: bool = False
    ) -> None:
        super().__init__(
            channels,
            out_channels,
            3,
            stride=2,
            padding=(0, 1) if causal else 1,
            groups=groups,
        )
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Convolves."""
        return super().forward(F.pad(x, (0, 0, 2, 0)) if self.causal else x)


def halving_reach(convolutions: int, *, causal: bool) -> tuple[int, int]:
    """Returns the frames before and behind its first one that a token of so many of them hears."""
    steps = (1 << convolutions) - 1
    return (2 * steps, 0) if causal else (steps, steps)
