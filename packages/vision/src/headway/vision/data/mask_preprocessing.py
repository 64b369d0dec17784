"""What pictures go through whose pixels get classes."""

from dataclasses import dataclass

from headway.core.errors import UserError
from headway.vision.data.colour_pixels import ColourPixels
from headway.vision.data.preprocessing import MAX_SIDE


@dataclass(frozen=True, kw_only=True)
class SegmentationPreprocessing(ColourPixels):
    """What a picture goes through before a segmenter sees it; as it is where no size is named.

    Args:
        height: Height that it gets, whatever its proportions; with ``width``.
        width: The same.
        shortest: Length of its shorter side, in its proportions, in the place of both.
        longest: The longer side is at most as long, with ``shortest``; any if None.
        least: Pixels that a side has at least; shorter ones are stretched.
        mean: As of ``ColourPixels``.
        std: As of ``ColourPixels``.
        bits: As of ``ColourPixels``.

    Raises:
        UserError: If a value is outside its range, or sizes exclude each other.
    """

    height: int | None = None
    width: int | None = None
    shortest: int | None = None
    longest: int | None = None
    least: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("height", "width", "shortest", "longest", "least"):
            side = getattr(self, name)
            if side is not None and not 1 <= side <= MAX_SIDE:
                raise UserError(f"{name} is {side}; it lies in 1 .. {MAX_SIDE:,} pixels")
        if (self.height is None) != (self.width is None):
            raise UserError(f"height is {self.height} and width {self.width}; name both or neither")
        if self.height is not None and self.shortest is not None:
            raise UserError(
                f"height {self.height} and shortest {self.shortest} exclude each other; name one"
            )
        if self.longest is not None and (self.shortest is None or self.longest < self.shortest):
            raise UserError(
                f"longest {self.longest} needs a shortest that is not above it, got {self.shortest}"
            )

    def size(self, height: int, width: int, shortest: int | None = None) -> tuple[int, int]:
        """Returns height and width of a picture after the resize."""
        if self.height is not None and self.width is not None:
            return max(self.height, self.least), max(self.width, self.least)
        wanted, scale = shortest if shortest is not None else self.shortest, 1.0
        if wanted is not None:
            scale = wanted / min(height, width)
            if self.longest is not None:
                scale = min(scale, self.longest / max(height, width))
        return max(self.least, round(height * scale)), max(self.least, round(width * scale))
