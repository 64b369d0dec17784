"""Convolutional stems instead of large patches."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.module import Module


class Stem(Module):
    """Convolutions from a picture to tokens; a subclass sets ``layers`` and ``projection``.

    Args:
        patch: Pixels per side that one token stands for, a power of two.
        channels: Channels of a picture.

    Shape:
        Input: (B, channels, H, W). Output: (B, H/patch * W/patch, dim) and its layout.

    Raises:
        UserError: If the patch is no power of two.
    """

    layers: nn.Module
    projection: nn.Module

    def __init__(self, patch: int, channels: int) -> None:
        super().__init__()
        if patch < 2 or patch & (patch - 1):
            raise UserError(
                f"{type(self).__name__} needs a patch of 2, 4, 8, ... pixels, got {patch}"
            )
        self.patch, self.channels = (patch, patch), channels

    def grid(self, size: Sequence[int]) -> tuple[int, int]:
        """Returns the grid of tokens of a picture of ``size`` (H, W).

        Raises:
            UserError: If a side is no multiple of the patch.
        """
        patch = self.patch[0]
        if size[0] % patch or size[1] % patch:
            raise UserError(
                f"a picture of {size[0]}x{size[1]} cannot be halved down to patches of {patch} "
                f"pixels; resize it to multiples of {patch}"
            )
        return size[0] // patch, size[1] // patch

    def forward(self, images: Tensor) -> tuple[Tensor, Layout]:
        """Returns the tokens of a batch of pictures."""
        if images.ndim != 4 or images.shape[1] != self.channels:
            raise UserError(
                f"pictures must be (B, {self.channels}, H, W), got {tuple(images.shape)}"
            )
        layout = Layout(grid=self.grid(images.shape[-2:]))
        # Convolutions are fastest with channels last, on the CPU and on tensor cores.
        x = images.contiguous(memory_format=torch.channels_last)
        return self.projection(self.layers(x)).flatten(2).transpose(1, 2), layout


class ConvolutionStem(Stem):
    """Small convolutions that halve the picture step by step, then one projection to tokens.

    On small data sets it trains faster and to a better score than a patch embedding.

    Args:
        dim: Channels of a token.
        patch: Pixels per side that one token stands for, a power of two.
        channels: Channels of a picture.
        width: Channels at half the size; each further halving doubles them.
        repeats: Convolutions at each size; the first one halves it.

    Shape:
        Input: (B, channels, H, W). Output: (B, H/patch * W/patch, dim) and its layout.

    Source:
        Xiao et al. 2021, https://arxiv.org/abs/2106.14881, section 4.
    """

    def __init__(
        self, dim: int, *, patch: int = 16, channels: int = 3, width: int = 24, repeats: int = 1
    ) -> None:
        super().__init__(patch, channels)
        layers: list[nn.Module] = []
        inner = channels
        for step in range(patch.bit_length() - 1):
            outer = width * 2**step
            for repeat in range(repeats):
                stride = 2 if repeat == 0 else 1
                layers += [
                    nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False),
                    nn.BatchNorm2d(outer),
                    nn.ReLU(inplace=True),
                ]
                inner = outer
        self.layers = nn.Sequential(*layers)
        self.projection = nn.Conv2d(inner, dim, 1)
