"""What pictures with boxes are like, and what is wrong with them, before anybody trains on them."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from headway.core.errors import InputError
from headway.core.training.invalid import InvalidItems
from headway.vision.data.box_format import TOLERANCE
from headway.vision.data.boxed_images import BoxedImage, BoxedImages, BoxError
from headway.vision.data.coco import BoxFormat
from headway.vision.data.layouts import Format, read_layout, recognise, unwrapped
from headway.vision.data.picture_index import pictures_below
from headway.vision.data.reading import ImageError
from headway.vision.data.sources import read_file

SMALL, LARGE = 32**2, 96**2
"""Areas in pixels between small, medium and large objects, as COCO's evaluation has them."""

Bar = Callable[[Iterable[BoxedImage]], Iterable[BoxedImage]]


class Finding(NamedTuple):
    """Something that is wrong, or odd.

    Args:
        kind: One of ``REFUSED``, which training refuses, or of ``ODD``, which it takes.
        name: The file, and what of it.
        reason: In words.
    """

    kind: str
    name: str
    reason: str


REFUSED = ("unreadable picture", "outside", "no area", "unknown class", "broken annotation")
ODD = ("same box twice", "same picture twice", "same picture in two splits", "without annotation")


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was found out about a data set.

    Args:
        path: Where it lies.
        format: Of its annotations.
        parts: What can be used of each split.
        findings: What is wrong or odd.
    """

    path: Path
    format: Format
    parts: dict[str, BoxedImages]
    findings: list[Finding] = field(default_factory=list)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.parts["train"].classes

    def refused(self) -> list[Finding]:
        """Returns what training stops at, unless ``on_invalid`` is ``skip``."""
        return [one for one in self.findings if one.kind in REFUSED]

    def splits(self) -> list[dict[str, Any]]:
        """Returns a row of numbers for each split."""
        rows = []
        for split, part in self.parts.items():
            boxes = [len(picture.boxes) for picture in part.pictures]
            rows.append(
                {
                    "split": split,
                    "pictures": len(part),
                    "without_boxes": sum(number == 0 for number in boxes),
                    "boxes": sum(boxes),
                    "crowd": sum(int(picture.crowd.sum()) for picture in part.pictures),
                    "most_in_one": max(boxes),
                }
            )
        return rows

    def per_class(self) -> list[dict[str, Any]]:
        """Returns a row of numbers for each class."""
        sizes = {split: sizes_by_class(part) for split, part in self.parts.items()}
        rows = []
        for label, name in enumerate(self.classes):
            mine = torch.cat([of_split[label] for of_split in sizes.values()])
            row: dict[str, Any] = {
                "class": name,
                "id": self.parts["train"].category_ids[label],
                **{split: len(of_split[label]) for split, of_split in sizes.items()},
            }
            areas = mine.prod(1)
            row["small"] = int((areas < SMALL).sum())
            row["medium"] = int(((areas >= SMALL) & (areas < LARGE)).sum())
            row["large"] = int((areas >= LARGE).sum())
            width, height = mine.median(0).values.tolist() if len(mine) else (0.0, 0.0)
            row["median_width"], row["median_height"] = round(width, 1), round(height, 1)
            rows.append(row)
        return rows


def sizes_by_class(part: BoxedImages) -> list[torch.Tensor]:
    """Returns width and height of the boxes of each class in pixels.

    Shape:
        Output: (N, 2) for each class.
    """
    boxes = torch.cat([picture.boxes for picture in part.pictures])
    labels = torch.cat([picture.labels for picture in part.pictures])
    sizes = boxes[:, 2:] - boxes[:, :2]
    return [sizes[labels == label] for label in range(len(part.classes))]


def check_data(
    path: Path,
    *,
    format: Format | None = None,
    boxes: BoxFormat | None = None,
    bar: Bar = lambda pictures: pictures,
) -> Report:
    """Reads annotations and decodes every picture; leaves out what cannot be used, and says so.

    Args:
        path: As for ``DetectionFolder``.
        format: Of the annotations; that of the files that are there if None.
        boxes: As for ``COCODetection``.
        bar: Is given the pictures, and yields them again as they are looked at.

    Raises:
        UserError: If it is no data set, or one that training refuses whatever ``on_invalid`` says.
    """
    path = unwrapped(path)
    format = format or recognise(path)
    invalid = InvalidItems("skip", "boxes and pictures")
    parts = read_layout(path, format, invalid, boxes=boxes)
    findings = [_finding(error) for error in invalid.errors]
    findings += _contents(parts, bar)
    findings += _twins(parts)
    findings += _without_annotation(path, parts, findings)
    order = (*REFUSED, *ODD)
    findings.sort(key=lambda one: order.index(one.kind))
    return Report(path=path, format=format, parts=parts, findings=findings)


def _finding(error: InputError) -> Finding:
    if isinstance(error, BoxError):
        return Finding(error.fault, error.name, error.reason)
    kind = "unreadable picture" if isinstance(error, ImageError) else "broken annotation"
    return Finding(kind, error.name, error.reason)


def _contents(parts: dict[str, BoxedImages], bar: Bar) -> list[Finding]:
    """Decodes every picture; finds those that cannot be, and those that are there twice."""
    found: list[Finding] = []
    known: dict[str, tuple[str, Path]] = {}
    seen: dict[Path, str] = {}
    places = [(split, picture) for split, part in parts.items() for picture in part.pictures]
    for (split, _), picture in zip(places, bar([one for _, one in places]), strict=True):
        if picture.path in seen:
            if seen[picture.path] != split:
                reason = f"is in {seen[picture.path]} and in {split}"
                found.append(Finding("same picture in two splits", str(picture.path), reason))
            continue
        seen[picture.path] = split
        try:
            content = hashlib.sha256(read_file(picture.path)).hexdigest()
            picture.read()
        except ImageError as error:
            found.append(_finding(error))
            continue
        if content in known:
            other_split, other = known[content]
            kind = "same picture twice" if other_split == split else "same picture in two splits"
            reason = f"is the same file as {other}" + (
                "" if other_split == split else f" ({split} and {other_split})"
            )
            found.append(Finding(kind, str(picture.path), reason))
        else:
            known[content] = split, picture.path
    return found


def _twins(parts: dict[str, BoxedImages]) -> list[Finding]:
    """Finds boxes of one class that differ by less than a pixel."""
    found = []
    for picture in {p.path: p for part in parts.values() for p in part.pictures}.values():
        if len(picture.boxes) < 2:
            continue
        apart = (picture.boxes[:, None] - picture.boxes[None]).abs().amax(2) < TOLERANCE
        same = apart & (picture.labels[:, None] == picture.labels[None])
        number = int(same.triu(1).any(0).sum())
        if number:
            reason = f"{number} of {len(picture.boxes)} boxes stand there twice"
            found.append(Finding("same box twice", str(picture.path), reason))
    return found


def _without_annotation(
    path: Path, parts: dict[str, BoxedImages], findings: Sequence[Finding]
) -> list[Finding]:
    """Finds pictures of the folder that no annotation speaks of."""
    root = path if path.is_dir() else path.parent
    named = {picture.path.resolve() for part in parts.values() for picture in part.pictures}
    named |= {Path(one.name).resolve() for one in findings if one.kind == "unreadable picture"}
    rest = [root / one for one in pictures_below(root) if (root / one).resolve() not in named]
    return [Finding("without annotation", str(one), "no annotation names it") for one in rest]


def by_kind(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """Returns the findings of each kind that there is."""
    found: dict[str, list[Finding]] = defaultdict(list)
    for one in findings:
        found[one.kind].append(one)
    return dict(found)
