"""PEM's pixel decoder: deformable convolutions, and channels weighted by what the whole map holds."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.module import Module
from headway.vision.layers.conv_norm import ConvNorm, NormFactory
from headway.vision.layers.deformable_convolution import DeformableConvolution


class Modulation(Module):
    """Adds to each channel a share of itself, of one half to .73, by the mean of all channels.

    Args:
        dim: Channels.
        norm: Builds the norm, ``(channels)``.

    Shape:
        x: (B, dim, H, W). Output: the same.
    """

    def __init__(self, dim: int, *, norm: NormFactory = nn.BatchNorm2d) -> None:
        super().__init__()
        self.squeeze = ConvNorm(dim, dim // 2, norm=norm, activation=nn.ReLU)
        self.grow = nn.Conv2d(dim // 2, dim, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Weights the channels."""
        mean = x.mean(dim=(2, 3), keepdim=True)
        # Twice, as in the authors' code.
        return x + x * self.grow(self.squeeze(mean)).sigmoid().sigmoid()


class DeformableUpscale(Module):
    """A deformable convolution, and a transposed one that makes its map twice as large.

    Args:
        dim: Channels.
        norm: Builds the norms, ``(channels)``.

    Shape:
        x: (B, dim, H, W). Output: (B, dim, H, W) and (B, dim, 2 H, 2 W).
    """

    def __init__(self, dim: int, *, norm: NormFactory = nn.BatchNorm2d) -> None:
        super().__init__()
        self.convolution = DeformableConvolution(dim, dim)
        self.norm = norm(dim)
        self.grow = nn.ConvTranspose2d(dim, dim, 4, stride=2, padding=1, bias=False)
        self.grown_norm = norm(dim)
        # The first of its inputs is read linearly between pixels at first, as in the authors' code.
        line = torch.tensor([0.25, 0.75, 0.75, 0.25])
        with torch.no_grad():
            self.grow.weight[:, 0] = line[:, None] * line

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Convolves and enlarges."""
        x = self.norm(self.convolution(x)).relu()
        return x, self.grown_norm(self.grow(x)).relu()


class ModulatedPixelDecoder(Module):
    """Adds the maps of a backbone up, from the smallest to the largest, where each is twice the one before.

    Args:
        channels: Of the maps, from the largest to the smallest map.
        dim: Channels of all maps then.
        mask_dim: Channels of the map of which masks are made.
        norm: Builds the norms, ``(channels)``.

    Raises:
        UserError: If there is a single map.

    Shape:
        maps: a list of (B, C, h, w). Output: a map (B, mask_dim, H, W) as large as the largest, and all
        smaller ones (B, dim, h, w), the smallest first.

    Source:
        Cavagnero et al. 2024 (PEM), https://arxiv.org/abs/2402.19422, section 3.3, and its code.
    """

    def __init__(
        self,
        channels: Sequence[int],
        dim: int,
        mask_dim: int,
        *,
        norm: NormFactory = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        if len(channels) < 2:
            raise UserError(f"a pyramid adds two maps or more, the backbone has {len(channels)}")
        parts = {"norm": norm, "activation": nn.ReLU}
        self.inputs = nn.ModuleList([ConvNorm(one, dim, **parts) for one in channels])
        self.whole = ConvNorm(channels[-1], dim, **parts)
        self.modulations = nn.ModuleList([Modulation(dim, norm=norm) for _ in channels])
        self.up = nn.ModuleList([DeformableUpscale(dim, norm=norm) for _ in channels[1:]])
        self.out = ConvNorm(dim, mask_dim, **parts)
        for layer in self.modules():
            if isinstance(layer, ConvNorm):
                nn.init.kaiming_normal_(layer.conv.weight, a=1)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Decodes the maps."""
        added, found = self.whole(maps[-1].mean(dim=(2, 3), keepdim=True)), []
        parts = list(zip(self.modulations, reversed(self.inputs), reversed(maps), strict=True))
        for (modulation, layer, one), up in zip(parts, self.up, strict=False):
            x, added = up(_sum(modulation(layer(one)), added))
            found.append(x)
        modulation, layer, largest = parts[-1]
        return self.out(_sum(modulation(layer(largest)), added)), found


def _sum(x: Tensor, added: Tensor) -> Tensor:
    """Returns the sum of two maps, of which the second may be larger by a row or column, or one pixel."""
    return x + added[..., : x.shape[2], : x.shape[3]]
