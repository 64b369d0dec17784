"""How pictures become the input of a model, in timm's words."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self, get_type_hints

from headway.core.errors import UserError
from headway.core.kinds import check_fits, fits
from headway.vision.data.deep import check_bits

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
CROP_MODES = ("center", "squash", "border")
MAX_SIDE = 2**14
"""Pixels of the longer side of what a model reads: a damaged file must not ask for all memory."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What a picture goes through before a model sees it.

    The fields are the keys of timm's ``pretrained_cfg``; what a model leaves out keeps timm's default.

    Args:
        input_size: Channels, height and width of the model's input; 1 channel means grey.
        mean: Mean of each channel, subtracted from values in 0..1.
        std: Standard deviation of each channel.
        interpolation: Filter of the resize: nearest, bilinear, bicubic, lanczos, box or hamming.
        crop_pct: Share of the resized picture's side that the crop keeps, in 0..1.
        crop_mode: ``center`` resizes the shorter side and cuts the middle out, ``squash`` resizes both
            sides and loses the proportions, ``border`` resizes the longer side and fills with the mean.
        bits: Least bits that values of over 8 bits are scaled from (``read_image``): 8, 10, 12, 14 or 16.

    Raises:
        UserError: If a value is outside its range.
    """

    input_size: tuple[int, int, int] = (3, 224, 224)
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bicubic"
    crop_pct: float = 0.875
    crop_mode: str = "center"
    bits: int = 8

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            check_fits(getattr(self, name), hint, name)
        # JSON and YAML bring lists.
        for name in ("input_size", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        size = self.input_size
        if len(size) != 3 or size[0] not in (1, 3) or min(size) < 1:
            raise UserError(
                f"input_size {size} is not (channels, height, width) with 1 or 3 channels"
            )
        if not 0 < self.crop_pct <= 1:
            raise UserError(f"crop_pct {self.crop_pct} is outside (0, 1]")
        if max(size[1:]) > MAX_SIDE * self.crop_pct:
            raise UserError(
                f"input_size {size} at crop_pct {self.crop_pct} needs pictures of over {MAX_SIDE:,} pixels a "
                "side; give smaller ones"
            )
        for name in ("mean", "std"):
            if len(getattr(self, name)) != size[0]:
                raise UserError(
                    f"{name} has {len(getattr(self, name))} values for {size[0]} channels; "
                    "give one per channel"
                )
        if min(self.std) <= 0:
            raise UserError(f"std {self.std} must be positive in every channel")
        if self.interpolation not in INTERPOLATIONS:
            raise UserError(
                f"interpolation {self.interpolation!r} is not one of {', '.join(INTERPOLATIONS)}"
            )
        check_bits(self.bits)
        if self.crop_mode not in CROP_MODES:
            raise UserError(f"crop_mode {self.crop_mode!r} is not one of {', '.join(CROP_MODES)}")

    @classmethod
    def from_cfg(cls, cfg: Mapping[str, Any]) -> Self:
        """Reads the fields that ``pretrained_cfg`` has and ignores its other keys."""
        found = {name: cfg[name] for name in cls.__dataclass_fields__ if cfg.get(name) is not None}
        size: Any = found.get("input_size")
        if fits(size, tuple[int, int, int]) and size[0] == 1:
            # timm keeps three means for grey models; the grey value is their average.
            for name in ("mean", "std"):
                values: Any = found.get(name, getattr(cls, name))
                if fits(values, tuple[float, float, float]):
                    found[name] = (sum(values) / 3,)
        return cls(**found)

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields for JSON."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }
