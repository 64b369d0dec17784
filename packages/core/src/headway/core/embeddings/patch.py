"""Pictures as sequences of patches."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.init import lecun_normal_
from headway.core.layout import Layout
from headway.core.module import Module


class PatchEmbedding(Module):
    """Cuts pictures into patches and projects each one to a token.

    A convolution whose stride is its kernel: as fast as a matrix product over copied patches, which
    would have to be kept for the backward pass.

    Args:
        dim: Channels of a token.
        patch: Height and width of a patch, in pixels.
        channels: Channels of a picture.
        bias: Whether to learn a bias.
        norm: Builds a norm of the tokens, ``(dim)``; none if None.
        remainder: What happens to pixels on the right and at the bottom that fill no patch. Some
            published models drop them; hierarchical ones fill the patch up with zeros (``pad``).

    Shape:
        Input: (B, channels, H, W). Output: (B, H/patch * W/patch, dim) and its layout.

    Source:
        Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929, section 3.1.
    """

    def __init__(
        self,
        dim: int,
        *,
        patch: int | Sequence[int] = 16,
        channels: int = 3,
        bias: bool = True,
        norm: Callable[[int], nn.Module] | None = None,
        remainder: Literal["refuse", "drop", "pad"] = "refuse",
    ) -> None:
        super().__init__()
        self.patch: tuple[int, int] = (
            (patch, patch) if isinstance(patch, int) else (patch[0], patch[1])
        )
        self.channels = channels
        self.remainder = remainder
        self.weight = nn.Parameter(lecun_normal_(torch.empty(dim, channels, *self.patch)))
        self.bias = nn.Parameter(torch.zeros(dim)) if bias else None
        self.norm = norm(dim) if norm is not None else None

    def set_channels(self, channels: int) -> None:
        """Takes pictures with another number of channels, keeping what was learned.

        One channel gets the sum of the weights; more channels repeat them, scaled so that the same
        picture in every channel gives the same tokens.
        """
        with torch.no_grad():
            if channels == 1:
                weight = self.weight.sum(dim=1, keepdim=True)
            else:
                repeats = -(-channels // self.channels)
                weight = self.weight.repeat(1, repeats, 1, 1)[:, :channels]
                weight = weight * (self.channels / channels)
        self.weight = nn.Parameter(weight.contiguous())
        self.channels = channels

    def grid(self, size: Sequence[int]) -> tuple[int, int]:
        """Returns the grid of patches of a picture of ``size`` (H, W).

        Raises:
            UserError: If the picture cannot be cut into whole patches.
        """
        (height, width), (rows, columns) = size, self.patch
        if self.remainder == "pad" and height and width:
            return -(-height // rows), -(-width // columns)
        drop = self.remainder == "drop" and height >= rows and width >= columns
        if not drop and (height % rows or width % columns or not height or not width):
            near = [
                max(patch, round(side / patch) * patch)
                for side, patch in zip(size, self.patch, strict=True)
            ]
            raise UserError(
                f"a picture of {height}x{width} cannot be cut into patches of {rows}x{columns}; "
                f"resize it to a multiple of the patch, such as {near[0]}x{near[1]}"
            )
        return height // rows, width // columns

    def check(self, images: Tensor) -> None:
        """Refuses what is no batch of pictures.

        Raises:
            UserError: It names the shape.
        """
        if images.ndim != 4 or images.shape[1] != self.channels:
            raise UserError(
                f"pictures must be (B, {self.channels}, H, W), got {tuple(images.shape)}; "
                "build the model with channels= for another number of channels"
            )

    def forward(self, images: Tensor) -> tuple[Tensor, Layout]:
        """Returns the tokens of a batch of pictures."""
        self.check(images)
        layout = Layout(grid=self.grid(images.shape[-2:]))
        if self.remainder == "pad":
            bottom, right = (-images.shape[-2] % self.patch[0], -images.shape[-1] % self.patch[1])
            if bottom or right:
                images = F.pad(images, (0, right, 0, bottom))
        tokens = F.conv2d(images, self.weight, self.bias, stride=self.patch)
        # Contiguous: every sum keeps the strides of the stream, and every norm would have to copy it.
        tokens = tokens.flatten(2).transpose(1, 2).contiguous()
        return (self.norm(tokens) if self.norm is not None else tokens), layout
