"""How a picture is looked at: whole, in tiles, mirrored; and which of what was found is answered."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from headway.core.cli.nearest import nearest
from headway.core.errors import UserError
from headway.vision.suppression import Found, suppress

LEAST_TILE = 32

# Share of a side within which a box ends where its view does.
_NEAR = 0.02


@dataclass(frozen=True)
class View:
    """A part of a picture, as a detector sees it.

    Args:
        image: The part.
        left: Where it begins in the picture.
        top: The same from above.
        mirrored: Whether left and right are exchanged.
    """

    image: Image.Image
    left: int = 0
    top: int = 0
    mirrored: bool = False

    def cuts(self, boxes: Tensor, size: tuple[int, int]) -> Tensor:
        """Returns which boxes, in pixels of the picture, end where the view does and the picture does not.

        Args:
            boxes: Left, top, right, bottom.
            size: Width and height of the picture.
        """
        right, bottom = self.left + self.image.width, self.top + self.image.height
        sides = torch.tensor([self.left, self.top, right, bottom])
        inner = torch.tensor([self.left > 0, self.top > 0, right < size[0], bottom < size[1]])
        near = torch.tensor([self.image.width, self.image.height] * 2) * _NEAR
        return (((boxes - sides).abs() <= near) & inner).any(-1)

    def back(self, boxes: Tensor) -> Tensor:
        """Returns boxes of the view in pixels of the picture."""
        left, top, right, bottom = boxes.unbind(-1)
        if self.mirrored:
            left, right = self.image.width - right, self.image.width - left
        sides = [left + self.left, top + self.top, right + self.left, bottom + self.top]
        return torch.stack(sides, dim=-1)


@dataclass(frozen=True, kw_only=True)
class Search:
    """Which views of a picture are looked at, and what of the objects that they show is kept.

    Args:
        threshold: Least score of an object.
        per_class: Least score of objects of some classes, by label.
        tile: Side in pixels of tiles that are looked at besides the whole picture; none if None.
        overlap: Share of a tile that the next one has too.
        mirror: Whether each view is looked at mirrored, too.
        suppress: The largest IoU of two objects of a class; any if None.
        soft: Whether overlapped objects lose score in place of being left out.

    Raises:
        UserError: If a value is outside its range.
    """

    threshold: float = 0.5
    per_class: tuple[tuple[int, float], ...] = ()
    tile: int | None = None
    overlap: float = 0.2
    mirror: bool = False
    suppress: float | None = None
    soft: bool = False

    def __post_init__(self) -> None:
        for value in (self.threshold, *(value for _, value in self.per_class)):
            if not 0 <= value <= 1:
                raise UserError(f"--threshold {value:g} is outside [0, 1]")
        check_tiles(self.tile, self.overlap)
        if self.suppress is not None and not 0 <= self.suppress <= 1:
            raise UserError(f"--suppress {self.suppress:g} is outside [0, 1]")

    def views(self, image: Image.Image) -> list[View]:
        """Returns the views of a picture, the whole first."""
        views = [View(image)]
        if self.tile is not None and max(image.size) > self.tile:
            views += tiles(image, self.tile, self.overlap)
        if self.mirror:
            flip = Image.Transpose.FLIP_LEFT_RIGHT
            views += [View(view.image.transpose(flip), view.left, view.top, True) for view in views]
        return views

    def chosen(self, views: Sequence[View], found: Sequence[Found]) -> Found:
        """Returns the objects of a picture, the surest first, from what each view shows."""
        parts = [self._sure(one) for one in found]
        merged = {
            "scores": torch.cat([part["scores"] for part in parts]),
            "labels": torch.cat([part["labels"] for part in parts]),
            "boxes": torch.cat(
                [view.back(part["boxes"]) for view, part in zip(views, parts, strict=True)]
            ),
        }
        if len(views) == 1 and self.suppress is None and not self.soft:
            order = merged["scores"].argsort(descending=True)
            return {name: value[order] for name, value in merged.items()}
        counts = [len(part["scores"]) for part in parts]
        numbers = torch.arange(len(parts)).repeat_interleave(torch.tensor(counts))
        whole = views[0].image.size
        cut = [
            view.cuts(boxes, whole)
            for view, boxes in zip(views, merged["boxes"].split(counts), strict=True)
        ]
        kept = suppress(
            merged, overlap=self.suppress, soft=self.soft, views=numbers, cut=torch.cat(cut)
        )
        return self._sure(kept)

    def _sure(self, found: Found) -> Found:
        least = torch.full_like(found["scores"], self.threshold)
        for label, threshold in self.per_class:
            least[found["labels"] == label] = threshold
        sure = found["scores"] >= least
        return {name: value[sure] for name, value in found.items()}


def tiles(image: Image.Image, tile: int, overlap: float) -> list[View]:
    """Returns views of one size, row by row, that cover a picture."""
    return [
        View(
            image.crop((left, top, min(left + tile, image.width), min(top + tile, image.height))),
            left,
            top,
        )
        for top in starts(image.height, tile, overlap)
        for left in starts(image.width, tile, overlap)
    ]


def check_tiles(tile: int | None, overlap: float) -> None:
    """Raises a UserError if ``--tile`` or ``--overlap`` is outside its range."""
    if tile is not None and tile < LEAST_TILE:
        raise UserError(f"--tile {tile} is below {LEAST_TILE} pixels")
    if not 0 <= overlap < 1:
        raise UserError(f"--overlap {overlap:g} is outside [0, 1)")


def starts(length: int, tile: int, overlap: float) -> list[int]:
    """Returns where tiles begin that cover a length, evenly spread, each overlapping the next at least so."""
    if length <= tile:
        return [0]
    step = max(1, int(tile * (1 - overlap)))
    number = -(-(length - tile) // step)
    return [round(k * (length - tile) / number) for k in range(number + 1)]


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """Adds thresholds and views."""
    parser.add_argument(
        "--threshold", type=float, default=0.5, help="least score of an object, in 0..1 (0.5)"
    )
    parser.add_argument(
        "--class-threshold",
        action="append",
        default=[],
        metavar="CLASS=SCORE",
        help="least score of the objects of a class; may be repeated",
    )
    add_view_options(parser, "look at tiles of this side, too: small objects of large pictures")
    parser.add_argument(
        "--suppress",
        type=float,
        metavar="IOU",
        help="leave out objects that a surer one of their class overlaps by more",
    )
    parser.add_argument(
        "--soft",
        action="store_true",
        help="lower the scores of overlapped objects in place of leaving them out",
    )


def add_view_options(parser: argparse.ArgumentParser, tile: str) -> None:
    """Adds tiles and the mirrored picture.

    Args:
        parser: The parser of the verb.
        tile: What ``--tile`` does.
    """
    parser.add_argument("--tile", type=int, metavar="PIXELS", help=tile)
    parser.add_argument(
        "--overlap", type=float, default=0.2, help="share of a tile that the next one has too (0.2)"
    )
    parser.add_argument("--mirror", action="store_true", help="look at the mirrored picture, too")


def search_of(args: argparse.Namespace) -> Search:
    """Returns what the options of ``add_search_options`` ask for, those of single classes aside.

    Raises:
        UserError: If a value is outside its range.
    """
    return Search(
        threshold=args.threshold,
        tile=args.tile,
        overlap=args.overlap,
        mirror=args.mirror,
        suppress=args.suppress,
        soft=args.soft,
    )


def class_thresholds(given: Sequence[str], classes: Sequence[str]) -> tuple[tuple[int, float], ...]:
    """Returns the label and the least score of each ``--class-threshold``.

    Args:
        given: What stands there, such as ``cat=0.3``.
        classes: Names of the model's classes.

    Raises:
        UserError: If a class is none of the model's, or a score no number.
    """
    found = []
    for one in given:
        name, _, score = one.rpartition("=")
        if name not in classes:
            raise UserError(
                f"--class-threshold {one}: {name!r} is no class of the model{nearest(name, classes)}"
            )
        try:
            found.append((classes.index(name), float(score)))
        except ValueError:
            raise UserError(f"--class-threshold {one}: {score!r} is no number") from None
    return tuple(found)
