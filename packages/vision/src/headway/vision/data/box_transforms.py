"""What pictures with boxes go through: sizes that keep proportions, flips, crops."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from headway.core.errors import UserError
from headway.vision.data.colour_pixels import ColourPixels
from headway.vision.data.preprocessing import MAX_SIDE


@dataclass(frozen=True, kw_only=True)
class DetectionPreprocessing(ColourPixels):
    """What a picture goes through before a detector sees it.

    Args:
        shortest: Length of the shorter side in pixels.
        longest: The longer side is at most as long; the shorter one is then shorter.
        stretch: Whether a picture becomes a square of ``shortest``, whatever its proportions (RT-DETR).
        multiple: Sides are cut down to multiples of this many pixels, as patches want them (YOLOS).
        mean: As of ``ColourPixels``.
        std: As of ``ColourPixels``.
        bits: As of ``ColourPixels``.

    Raises:
        UserError: If a value is outside its range.
    """

    shortest: int = 800
    longest: int = 1333
    stretch: bool = False
    multiple: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.shortest <= self.longest <= MAX_SIDE:
            raise UserError(
                f"shortest {self.shortest} and longest {self.longest} must be positive and rise, to at most "
                f"{MAX_SIDE:,}"
            )
        if not 1 <= self.multiple <= self.shortest:
            raise UserError(
                f"multiple {self.multiple} must be at least 1 and at most shortest, {self.shortest}"
            )

    def size(self, height: int, width: int, shortest: int | None = None) -> tuple[int, int]:
        """Returns height and width of a picture after the resize."""
        wanted = shortest if shortest is not None else self.shortest
        scale = min(wanted / min(height, width), self.longest / max(height, width))
        sides = (wanted, wanted) if self.stretch else (round(height * scale), round(width * scale))
        rows, columns = (max(1, side // self.multiple) * self.multiple for side in sides)
        return rows, columns


class BoxAugmentation:
    """The random part of training on pictures with boxes.

    Args:
        flip: Probability of mirroring left and right.
        crop: Probability of cutting a part out; boxes whose centre is cut off are left out.
        smallest_crop: Smallest share of each side that a cut-out keeps.
        color_jitter: Range of brightness, contrast and saturation around 1; 0 turns it off.
        shortest: Lengths of the shorter side, one of which is drawn; that of evaluation if empty.

    Raises:
        UserError: If a value is outside its range.

    Source:
        Carion et al. 2020 (DETR), https://arxiv.org/abs/2005.12872, section 4.
    """

    def __init__(
        self,
        *,
        flip: float = 0.5,
        crop: float = 0.5,
        smallest_crop: float = 0.5,
        color_jitter: float = 0.0,
        shortest: Sequence[int] = (),
    ) -> None:
        for name, value in (("flip", flip), ("crop", crop)):
            if not 0 <= value <= 1:
                raise UserError(f"{name} {value} is a probability and lies in [0, 1]")
        if not 0 < smallest_crop <= 1:
            raise UserError(f"smallest_crop {smallest_crop} is outside (0, 1]")
        if color_jitter < 0:
            raise UserError(f"color_jitter {color_jitter} is negative; 0 turns it off")
        if shortest and min(shortest) < 1:
            raise UserError(f"shortest {list(shortest)} must be positive")
        self.flip, self.crop, self.smallest_crop = flip, crop, smallest_crop
        self.color_jitter, self.shortest = color_jitter, tuple(shortest)

    def __call__(
        self, image: Image.Image, boxes: Tensor
    ) -> tuple[Image.Image, Tensor, Tensor, int | None]:
        """Returns the changed picture, its boxes, which of them are left, and its shorter side.

        Shape:
            boxes: (N, 4) left, top, right, bottom in pixels. Output: (M, 4), and (N,) bool.
        """
        kept = torch.ones(len(boxes), dtype=torch.bool)
        if self.crop and torch.rand(()) < self.crop:
            image, boxes, kept = self._cropped(image, boxes)
        if self.flip and torch.rand(()) < self.flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            left, top, right, bottom = boxes.unbind(1)
            boxes = torch.stack([image.width - right, top, image.width - left, bottom], dim=1)
        if self.color_jitter:
            kinds = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
            for kind, draw in zip(kinds, torch.rand(3).tolist(), strict=True):
                image = kind(image).enhance(max(0.0, 1 + self.color_jitter * (2 * draw - 1)))
        shortest = None
        if self.shortest:
            shortest = self.shortest[int(torch.randint(len(self.shortest), ()))]
        return image, boxes, kept, shortest

    def _cropped(self, image: Image.Image, boxes: Tensor) -> tuple[Image.Image, Tensor, Tensor]:
        share = self.smallest_crop + (1 - self.smallest_crop) * torch.rand(2)
        width = max(1, round(image.width * share[0].item()))
        height = max(1, round(image.height * share[1].item()))
        start = torch.rand(2)
        left = round((image.width - width) * start[0].item())
        top = round((image.height - height) * start[1].item())
        moved = boxes - torch.tensor([left, top, left, top], dtype=boxes.dtype)
        centre = (moved[:, :2] + moved[:, 2:]) / 2
        limit = torch.tensor([width, height], dtype=boxes.dtype)
        kept = ((centre > 0) & (centre < limit)).all(dim=1)
        if len(boxes) and not kept.any():
            # A picture that lost all its objects teaches little.
            return image, boxes, torch.ones(len(boxes), dtype=torch.bool)
        inside = torch.minimum(moved[kept].clamp_min(0), limit.repeat(2))
        return image.crop((left, top, left + width, top + height)), inside, kept
