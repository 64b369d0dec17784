"""Whether the four numbers of boxes mean what their format says."""

from collections.abc import Iterable
from dataclasses import dataclass

from headway.core.errors import UserError

Numbers = tuple[float, float, float, float]

TOLERANCE = 1.0
"""Pixels: annotation programs count them from 0 or from 1."""

ENOUGH = 5
"""So many boxes that fit both readings are a file that nobody should learn from unasked."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A box in two readings: as the format has it, and as people often give it by mistake.

    Args:
        meant: Left, top, right, bottom if the numbers are what the format says.
        corners: The same if they are left, top, right and bottom themselves.
        size: Height and width of the picture.
        area: Of the object, where the file has it; often that of the box.
        outline: Left, top, right, bottom of the object's outline, where the file has one.
    """

    meant: Numbers
    corners: Numbers
    size: tuple[int, int]
    area: float | None = None
    outline: Numbers | None = None

    def fits(self) -> tuple[bool, bool]:
        """Returns whether the box can be meant in the one way, and in the other."""
        both = self.meant, self.corners
        fits = [inside(box, self.size) for box in both]
        if all(fits) and self.area is not None:
            close = [abs(_area(box) - self.area) <= 1 + 0.01 * self.area for box in both]
            fits = close if any(close) else fits
        if all(fits) and self.outline is not None:
            close = [
                all(abs(a - b) <= 2 for a, b in zip(box, self.outline, strict=True)) for box in both
            ]
            fits = close if any(close) else fits
        return fits[0], fits[1]


def inside(box: Numbers, size: tuple[int, int]) -> bool:
    """Whether left, top, right and bottom rise and lie in a picture; NaN does not."""
    left, top, right, bottom = box
    return (
        right > left
        and bottom > top
        and left >= -TOLERANCE
        and top >= -TOLERANCE
        and right <= size[1] + TOLERANCE
        and bottom <= size[0] + TOLERANCE
    )


def check_format(claims: Iterable[Claim], where: str, format: str, remedy: str) -> None:
    """Raises if the boxes of a file look like corners, or could as well be such.

    A box of another shape in each reading speaks for one if it fits its picture in that alone. If some
    speak for corners and none for the format, or none speaks at all, learning would be from wrong boxes.

    Args:
        claims: The boxes.
        where: The file.
        format: What the numbers should be, such as ``left, top, width, height``.
        remedy: What to do if they are right, and if they are not.

    Raises:
        UserError: It holds whatever ``on_invalid`` says: leaving boxes out would leave the wrong ones in.
    """
    for_format = for_corners = open_ = total = 0
    for claim in claims:
        total += 1
        if claim.meant == claim.corners:
            continue
        as_meant, as_corners = claim.fits()
        for_format += as_meant and not as_corners
        for_corners += as_corners and not as_meant
        open_ += as_meant and as_corners
    if for_corners and not for_format:
        raise UserError(
            f"{where}: {for_corners} of {total} boxes fit their pictures only as left, top, right, "
            f"bottom, none only as {format}, which they should be; {remedy}"
        )
    if open_ >= ENOUGH and not for_format:
        raise UserError(
            f"{where}: all {open_} boxes fit their pictures as {format} and as left, top, right, bottom, "
            f"and nothing tells which they are; {remedy}"
        )


def _area(box: Numbers) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
