"""A small residual network as the stem of a transformer."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.vision.layers.stem import Stem


class ResidualBlock(nn.Module):
    """Two normalised convolutions with a shortcut.

    Args:
        channels: Input channels.
        out: Output channels.
        stride: By how much the picture shrinks.

    Source:
        He et al. 2015, https://arxiv.org/abs/1512.03385, section 3.
    """

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out)
        plain = stride == 1 and channels == out
        self.shortcut = None if plain else nn.Conv2d(channels, out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Adds the shortcut."""
        out = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(out + (self.shortcut(x) if self.shortcut is not None else x))


class ResidualStem(Stem):
    """Residual stages from full resolution down to one pixel per token: a hybrid transformer.

    Args:
        dim: Channels of a token.
        patch: Pixels per side that one token stands for, a power of two.
        channels: Channels of a picture.
        width: Channels at full resolution; each halving doubles them.
        repeats: Residual blocks at each resolution, from full down to that of the tokens; with 0 at
            the last one a single strided convolution leads there.

    Shape:
        Input: (B, channels, H, W). Output: (B, H/patch * W/patch, dim) and its layout.

    Source:
        Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929, section 3.1 (hybrid architecture).
    """

    def __init__(
        self,
        dim: int,
        *,
        patch: int = 4,
        channels: int = 3,
        width: int = 16,
        repeats: Sequence[int] = (2, 2, 1),
    ) -> None:
        super().__init__(patch, channels)
        halvings = patch.bit_length() - 1
        if len(repeats) != halvings + 1 or min(repeats[:-1]) < 1 or repeats[-1] < 0:
            raise UserError(
                f"repeats needs {halvings + 1} numbers for a patch of {patch} pixels, got {list(repeats)}"
            )
        layers: list[nn.Module] = [
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        inner = width
        for level, number in enumerate(repeats):
            outer = width * 2**level
            for place in range(number):
                layers.append(ResidualBlock(inner, outer, 2 if level and place == 0 else 1))
                inner = outer
        self.layers = nn.Sequential(*layers)
        if repeats[-1]:
            self.projection = nn.Conv2d(inner, dim, 1)
        else:  # the projection itself halves the picture once more
            self.projection = nn.Conv2d(inner, dim, 3, stride=2, padding=1)
