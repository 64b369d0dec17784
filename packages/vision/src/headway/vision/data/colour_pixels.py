"""From a picture to what a model of any height and width reads."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self, get_type_hints

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from headway.core.errors import UserError
from headway.core.kinds import check_fits
from headway.vision.data.deep import check_bits
from headway.vision.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD


@dataclass(frozen=True, kw_only=True)
class ColourPixels:
    """Mean and deviation of colours; a subclass says to which size a picture is brought.

    Args:
        mean: Mean of each channel, subtracted from values in 0..1.
        std: Standard deviation of each channel.
        bits: Least bits that values of over 8 bits are scaled from (``read_image``): 8, 10, 12, 14 or 16.

    Raises:
        UserError: If a value is outside its range.
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    bits: int = 8

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            check_fits(getattr(self, name), hint, name)
        # JSON and YAML bring lists.
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if len(getattr(self, name)) != 3:
                raise UserError(f"{name} has {len(getattr(self, name))} values for 3 channels")
        check_bits(self.bits)
        if min(self.std) <= 0:
            raise UserError(f"std {self.std} must be positive in every channel")

    @classmethod
    def from_cfg(cls, cfg: Mapping[str, Any]) -> Self:
        """Reads the fields that a configuration has and ignores its other keys."""
        return cls(**{k: cfg[k] for k in cls.__dataclass_fields__ if cfg.get(k) is not None})

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields for JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @abstractmethod
    def size(self, height: int, width: int, shortest: int | None = None) -> tuple[int, int]:
        """Returns height and width of a picture after the resize."""

    def tensor(self, image: Image.Image, shortest: int | None = None) -> Tensor:
        """Resizes a picture and returns what the model reads, (3, H, W)."""
        height, width = self.size(image.height, image.width, shortest)
        resized = image.resize((width, height), Image.Resampling.BILINEAR)
        pixels = tv.to_dtype(tv.pil_to_tensor(resized), torch.float32, scale=True)
        return tv.normalize(pixels, list(self.mean), list(self.std))
