"""TrivialAugment for whole batches of small pictures in memory."""

import math
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as VF

from headway.core.errors import UserError
from headway.vision.data.batch_augmentation import BatchAugmentation
from headway.vision.data.randomness import integers, uniform

SHAPES = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
COLOURS = (
    "brightness",
    "saturation",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)
# ITU-R 601, as Pillow and torchvision weigh the channels.
LUMA = (0.2989, 0.587, 0.114)
BINS = 31


class BatchTrivialAugment(BatchAugmentation):
    """One random change of shape or colour per picture, at a random strength.

    The wide space of the paper: shear up to 0.99, rotation up to 135 degrees, colours up to 0.99. Every
    operation runs once per batch on the pictures that drew it.

    Args:
        translate: Largest shift in pixels. The paper's 32 pushes a picture of 32x32 out of sight.
        shapes: Whether pictures are sheared, shifted and rotated; digits and letters bear little of it.

    Raises:
        UserError: If ``translate`` is negative.

    Source:
        Mueller and Hutter 2021, https://arxiv.org/abs/2103.10158, table 1 (wide).
    """

    def __init__(self, *, translate: float = 8.0, shapes: bool = True) -> None:
        if translate < 0:
            raise UserError(f"translate {translate} is negative")
        self.translate = translate
        self.operations = ("identity", *(SHAPES if shapes else ()), *COLOURS)

    def __call__(self, images: Tensor, key: NDArray[np.uint64]) -> Tensor:
        """Returns the pictures, each changed in one way."""
        draws = uniform(key, 3, salt=3)
        operation = integers(draws[:, 0], 0, len(self.operations) - 1)
        strength = integers(draws[:, 1], 0, BINS - 1) / (BINS - 1)
        sign = np.where(draws[:, 2] < 0.5, -1.0, 1.0)
        out = images.clone()
        for number, name in enumerate(self.operations):
            chosen = np.flatnonzero(operation == number)
            if name == "identity" or not len(chosen):
                continue
            where = torch.from_numpy(chosen)
            out[where] = self.apply(
                name,
                images[where],
                torch.from_numpy(strength[chosen]).float(),
                torch.from_numpy(sign[chosen]).float(),
            )
        return out

    def apply(self, name: str, images: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
        """Runs one operation.

        Args:
            name: Which.
            images: Pictures.
            strength: 0..1.
            sign: -1 or 1, for what has two directions.

        Shape:
            images: (B, C, H, W) uint8. strength, sign: (B,). Output: as images.
        """
        if name in SHAPES:
            return _warp(images, *self._matrix(name, strength * sign, images.shape[-2:]))
        if name == "posterize":
            bits = 8 - (strength * 6).round().int()
            mask = (256 - (1 << (8 - bits))).to(torch.uint8)
            return images & mask[:, None, None, None]
        if name == "solarize":
            threshold = (256 * (1 - strength))[:, None, None, None]
            return torch.where(images >= threshold, 255 - images, images)
        if name == "autocontrast":
            return VF.autocontrast(images)
        if name == "equalize":
            return VF.equalize(images)
        factor = (1 + 0.99 * strength * sign)[:, None, None, None]
        pixels = images.float()
        other: Any = {
            "brightness": lambda: torch.zeros(()),
            "saturation": lambda: _grey(pixels),
            "contrast": lambda: _grey(pixels).mean(dim=(-3, -2, -1), keepdim=True),
            "sharpness": lambda: _blurred(pixels),
        }[name]()
        return (other + factor * (pixels - other)).clamp_(0, 255).to(torch.uint8)

    def _matrix(self, name: str, amount: Tensor, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Returns where output pixels come from: (B, 2, 2) and (B, 2), around the middle, x first."""
        zero, one = torch.zeros_like(amount), torch.ones_like(amount)
        matrix = torch.stack([one, zero, zero, one], dim=-1).view(-1, 2, 2)
        shift = torch.zeros(len(amount), 2)
        # Shears are about the upper left corner.
        half = ((size[1] - 1) / 2, (size[0] - 1) / 2)
        if name == "shear_x":
            matrix[:, 0, 1] = 0.99 * amount
            shift[:, 0] = 0.99 * amount * (half[1] + 0.5)
        elif name == "shear_y":
            matrix[:, 1, 0] = 0.99 * amount
            shift[:, 1] = 0.99 * amount * (half[0] + 0.5)
        elif name == "translate_x":
            shift[:, 0] = -(self.translate * amount).trunc()
        elif name == "translate_y":
            shift[:, 1] = -(self.translate * amount).trunc()
        else:
            angle = amount * math.radians(135)
            cos, sin = angle.cos(), angle.sin()
            matrix = torch.stack([cos, -sin, sin, cos], dim=-1).view(-1, 2, 2)
        return matrix, shift


def _warp(images: Tensor, matrix: Tensor, shift: Tensor) -> Tensor:
    """Takes each pixel from its nearest source; black outside."""
    height, width = images.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height) - (height - 1) / 2,
        torch.arange(width) - (width - 1) / 2,
        indexing="ij",
    )
    places = torch.stack([x, y]).flatten(1)
    source = matrix @ places + shift[..., None]
    column = (source[:, 0] + (width - 1) / 2).round().long()
    row = (source[:, 1] + (height - 1) / 2).round().long()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    index = (row * width + column).where(inside, 0)[:, None].expand(-1, images.shape[1], -1)
    moved = images.flatten(2).gather(2, index) * inside[:, None]
    return moved.view_as(images)


def _grey(pixels: Tensor) -> Tensor:
    if pixels.shape[1] == 1:
        return pixels
    weights = torch.tensor(LUMA)[:, None, None]
    return (pixels * weights).sum(dim=1, keepdim=True).floor()


def _blurred(pixels: Tensor) -> Tensor:
    kernel = torch.ones(3, 3)
    kernel[1, 1] = 5
    channels = pixels.shape[1]
    weight = (kernel / kernel.sum()).expand(channels, 1, 3, 3)
    out = pixels.clone()
    # The border stays sharp, as in Pillow.
    out[..., 1:-1, 1:-1] = cast(Tensor, F.conv2d(pixels, weight, groups=channels)).round()
    return out
