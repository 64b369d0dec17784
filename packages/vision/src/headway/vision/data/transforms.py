"""Training and evaluation transforms of single pictures, as timm and torchvision build them."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

from headway.core.errors import UserError
from headway.vision.data.preprocessing import Preprocessing
from headway.vision.data.reading import ImageError

AutoAugment = Literal["none", "autoaugment", "randaugment", "trivialaugment", "augmix"]

MAX_RESIZED = 2**26
"""Most pixels of a picture after the resize and before the crop."""


class KeepRatioResize(nn.Module):
    """Resizes without changing the proportions.

    Args:
        size: Height and width to aim at.
        interpolation: Filter of the resize.
        fit: ``outside`` covers the size, ``inside`` fits into it.
    """

    def __init__(
        self,
        size: tuple[int, int],
        *,
        interpolation: str,
        fit: Literal["outside", "inside"],
    ) -> None:
        super().__init__()
        self.size = size
        self.filter = Image.Resampling[interpolation.upper()]
        self.fit = fit

    def forward(self, image: Image.Image) -> Image.Image:
        """Resizes one picture."""
        scales = (self.size[0] / image.height, self.size[1] / image.width)
        scale = max(scales) if self.fit == "outside" else min(scales)
        size = (round(image.width * scale), round(image.height * scale))
        return image.resize(size, self.filter)


class CenterCropOrPad(nn.Module):
    """Cuts the middle out, and pads where the picture is smaller.

    Args:
        size: Height and width of the result.
        fill: Value of each channel in the padding.
    """

    def __init__(self, size: tuple[int, int], *, fill: Sequence[int]) -> None:
        super().__init__()
        self.size = size
        self.fill = tuple(fill) if len(fill) > 1 else fill[0]

    def forward(self, image: Image.Image) -> Image.Image:
        """Crops or pads one picture."""
        height, width = self.size
        # Odd differences: cut one pixel less at the left, pad one pixel more at the right.
        left = _middle(image.width, width)
        top = _middle(image.height, height)
        ground = Image.new(image.mode, (width, height), self.fill)
        ground.paste(image, (-left, -top))
        return ground


class _Bounded(nn.Module):
    """Refuses a picture so narrow that its shorter side, resized to what is asked for, needs gigabytes."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, image: Image.Image) -> Image.Image:
        """Returns the picture as it is."""
        scale = max(self.size[0] / image.height, self.size[1] / image.width)
        pixels = round(image.height * scale) * round(image.width * scale)
        if pixels > MAX_RESIZED:
            raise ImageError(
                "picture",
                f"of {image.width}x{image.height} would be resized to {pixels:,} pixels, and the limit is "
                f"{MAX_RESIZED:,}; crop it, or set crop_mode to squash",
            )
        return image


def _middle(have: int, want: int) -> int:
    return round((have - want) / 2) if have > want else -((want - have) // 2)


def evaluation_transform(preprocessing: Preprocessing) -> v2.Compose:
    """Builds what a picture goes through at validation, test and prediction.

    The result equals timm's ``create_transform`` for the same ``pretrained_cfg``.

    Returns:
        A callable from a PIL image to a float tensor.

    Shape:
        Output: (C, H, W).
    """
    p = preprocessing
    size = p.input_size[1:]
    scaled = (math.floor(size[0] / p.crop_pct), math.floor(size[1] / p.crop_pct))
    mode = v2.InterpolationMode(p.interpolation)
    if p.crop_mode == "squash":
        fit = [v2.Resize(list(scaled), mode, antialias=True), v2.CenterCrop(list(size))]
    elif p.crop_mode == "border":
        fill = [round(255 * value) for value in p.mean]
        fit = [
            KeepRatioResize(scaled, interpolation=p.interpolation, fit="inside"),
            CenterCropOrPad(size, fill=fill),
        ]
    elif scaled[0] == scaled[1]:
        fit = [
            _Bounded(scaled),
            v2.Resize(scaled[0], mode, antialias=True),
            v2.CenterCrop(list(size)),
        ]
    else:
        fit = [
            _Bounded(scaled),
            KeepRatioResize(scaled, interpolation=p.interpolation, fit="outside"),
            v2.CenterCrop(list(size)),
        ]
    return v2.Compose([_colours(p), *fit, *_to_tensor(p)])


class TrainingAugmentation:
    """The random part of training on pictures of any size.

    Args:
        scale: Smallest and largest share of the picture's area that a crop takes.
        ratio: Smallest and largest width divided by height of a crop.
        horizontal_flip: Probability.
        vertical_flip: Probability.
        auto: A published policy of colour and shape changes. With ``none``, ``color_jitter`` is used.
        magnitude: Strength of RandAugment, 0 to 30.
        color_jitter: Range of brightness, contrast and saturation around 1.
        erasing: Probability that a rectangle is replaced by noise.

    Raises:
        UserError: If a value is outside its range.
    """

    def __init__(
        self,
        *,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        horizontal_flip: float = 0.5,
        vertical_flip: float = 0.0,
        auto: AutoAugment = "none",
        magnitude: int = 9,
        color_jitter: float = 0.4,
        erasing: float = 0.0,
    ) -> None:
        if not 0 < scale[0] <= scale[1] <= 1:
            raise UserError(f"scale {scale} is not a range within (0, 1]")
        if not 0 < ratio[0] <= ratio[1]:
            raise UserError(f"ratio {ratio} is not a range of positive numbers")
        for name, value in (
            ("horizontal_flip", horizontal_flip),
            ("vertical_flip", vertical_flip),
            ("erasing", erasing),
        ):
            if not 0 <= value <= 1:
                raise UserError(f"{name} {value} is a probability and lies in [0, 1]")
        if auto not in ("none", "autoaugment", "randaugment", "trivialaugment", "augmix"):
            raise UserError(
                f"auto {auto!r} is not none, autoaugment, randaugment, trivialaugment or augmix"
            )
        if not 0 <= magnitude <= 30:
            raise UserError(f"magnitude {magnitude} is outside [0, 30]")
        if color_jitter < 0:
            raise UserError(f"color_jitter {color_jitter} is negative; 0 turns it off")
        self.scale = scale
        self.ratio = ratio
        self.horizontal_flip = horizontal_flip
        self.vertical_flip = vertical_flip
        self.auto = auto
        self.magnitude = magnitude
        self.color_jitter = color_jitter
        self.erasing = erasing

    def transform(self, preprocessing: Preprocessing) -> v2.Compose:
        """Builds the transform from a PIL image to a float tensor (C, H, W)."""
        p = preprocessing
        mode = v2.InterpolationMode(p.interpolation)
        steps: list[nn.Module] = [
            _colours(p),
            v2.RandomResizedCrop(
                list(p.input_size[1:]), self.scale, self.ratio, interpolation=mode, antialias=True
            ),
        ]
        if self.horizontal_flip:
            steps.append(v2.RandomHorizontalFlip(self.horizontal_flip))
        if self.vertical_flip:
            steps.append(v2.RandomVerticalFlip(self.vertical_flip))
        fill = [round(255 * value) for value in p.mean]
        if self.auto == "autoaugment":
            steps.append(v2.AutoAugment(fill=fill))
        elif self.auto == "randaugment":
            steps.append(v2.RandAugment(magnitude=self.magnitude, fill=fill))
        elif self.auto == "trivialaugment":
            steps.append(v2.TrivialAugmentWide(fill=fill))
        elif self.auto == "augmix":
            steps.append(v2.AugMix(fill=fill))
        elif self.color_jitter:
            steps.append(v2.ColorJitter(*(self.color_jitter,) * 3))
        steps += _to_tensor(p)
        if self.erasing:
            steps.append(v2.RandomErasing(self.erasing))
        return v2.Compose(steps)


def normalize(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Turns a batch of uint8 images of the input size into what the model takes.

    Shape:
        images: (B, C, H, W). Output: the same, float32.
    """
    shape = (1, -1, 1, 1)
    mean = torch.tensor(preprocessing.mean).view(shape)
    std = torch.tensor(preprocessing.std).view(shape)
    # One multiplication and one addition in place instead of three passes.
    return images.float().mul_(1 / (255 * std)).sub_(mean / std)


def _colours(preprocessing: Preprocessing) -> nn.Module:
    if preprocessing.input_size[0] == 1:
        return v2.Grayscale(1)
    return v2.RGB()


def _to_tensor(preprocessing: Preprocessing) -> list[nn.Module]:
    return [
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(list(preprocessing.mean), list(preprocessing.std)),
        v2.ToPureTensor(),
    ]


Transform = Callable[[Image.Image], Tensor]
