"""Pictures with boxes: what the readers of annotation formats give, and the checks that all share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from headway.core.errors import InputError, UserError
from headway.core.training.invalid import InvalidItems
from headway.vision.data.box_format import inside
from headway.vision.data.deep import bits_of, spread
from headway.vision.data.reading import (
    ImageError,
    check_size,
    image_sizes,
    looks_whole,
    read_image,
)
from headway.vision.data.sources import file_ends, read_file

Fault = Literal["unknown class", "no area", "outside"]


class BoxError(InputError):
    """A box that cannot be used.

    Args:
        name: Its file and what it is called there.
        reason: What is wrong with it.
        fault: The same as one of few.
    """

    def __init__(self, name: str, reason: str, fault: Fault) -> None:
        super().__init__(name, reason)
        self.fault: Fault = fault

    def __reduce__(self) -> tuple[type["BoxError"], tuple[str, str, Fault]]:  # pyright: ignore
        return type(self), (self.name, self.reason, self.fault)


@dataclass(frozen=True, kw_only=True)
class BoxedImage:
    """A picture and its objects.

    Args:
        path: The file.
        number: Number of the picture in its data set, as in COCO's ``image_id``.
        size: Height and width in pixels, of the picture upright or as it is stored; boxes are of the same.
        boxes: Left, top, right, bottom of each object in pixels, (N, 4).
        labels: Class of each object, (N,) int64.
        crowd: Whether a box holds many objects that nobody separated, (N,) bool.
    """

    path: Path
    number: int
    size: tuple[int, int]
    boxes: Tensor
    labels: Tensor
    crowd: Tensor

    def read(self, *, bits: int = 8) -> Image.Image:
        """Decodes the picture, turned as its boxes are; ``bits`` as for ``read_image``.

        Raises:
            ImageError: If it cannot be read or has another size.
        """
        return read_image(read_file(self.path), str(self.path), size=self.size, bits=bits)


@dataclass(frozen=True, kw_only=True)
class BoxedImages:
    """The pictures of one split.

    Args:
        pictures: The pictures.
        classes: Names of the classes.
        ids: Their ids in COCO's format; counted from 1 if empty.
    """

    pictures: tuple[BoxedImage, ...]
    classes: tuple[str, ...]
    ids: tuple[int | str, ...] = ()

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def category_ids(self) -> tuple[int | str, ...]:
        """Ids of the classes in COCO's format, in the order of the labels."""
        return self.ids or tuple(range(1, 1 + len(self.classes)))

    def split(self, size: int, seed: int) -> tuple[Self, Self]:
        """Returns what stays and the ``size`` drawn pictures that leave, both in their order."""
        drawn = np.random.Generator(np.random.PCG64(seed)).permutation(len(self))[:size]
        gone = set(drawn.tolist())
        parts = (
            [p for k, p in enumerate(self.pictures) if (k in gone) == out] for out in (False, True)
        )
        stay, leave = (replace(self, pictures=tuple(part)) for part in parts)
        return stay, leave

    def bits(self) -> int:
        """Returns the fewest bits that hold the values of the pictures of over 8 bits (``bits_of``)."""
        names = spread([str(picture.path) for picture in self.pictures])
        return bits_of(read_file(Path(name)) for name in names)

    def first(self, number: int) -> Self:
        """Returns the first pictures."""
        return replace(self, pictures=self.pictures[:number])


@dataclass(frozen=True)
class Annotation:
    """One object as an annotation file has it, not yet checked.

    Args:
        label: Name of the class.
        box: Left, top, right, bottom in pixels.
        crowd: Whether the box holds many objects, or one that is too difficult to be asked for.
        where: What it is called in its file, such as ``annotation 7``; its place if empty.
    """

    label: str
    box: tuple[float, float, float, float]
    crowd: bool = False
    where: str = ""


def boxed_image(
    path: Path,
    number: int,
    size: tuple[int, int],
    annotations: Sequence[Annotation],
    *,
    name: str,
    classes: Sequence[str],
    invalid: InvalidItems,
) -> BoxedImage:
    """Checks the objects of a picture and puts those that are right together.

    Args:
        path: The picture.
        number: Its number in the data set.
        size: Height and width in pixels.
        annotations: Its objects.
        name: The annotation file, for messages.
        classes: Names of the classes.
        invalid: Takes what is wrong: a box outside its picture or without area, an unknown class.
    """
    kept = []
    for place, annotation in enumerate(annotations, start=1):
        wrong = _wrong(annotation, size, classes)
        if wrong is None:
            kept.append(annotation)
        else:
            invalid.add(BoxError(f"{name}, {annotation.where or f'box {place}'}", *wrong))
    limit = torch.tensor([size[1], size[0]] * 2, dtype=torch.float32)
    boxes = torch.tensor([a.box for a in kept], dtype=torch.float32).view(-1, 4)
    return BoxedImage(
        path=path,
        number=number,
        size=size,
        boxes=torch.minimum(boxes.clamp_min(0), limit),
        labels=torch.tensor([classes.index(a.label) for a in kept], dtype=torch.int64),
        crowd=torch.tensor([a.crowd for a in kept], dtype=torch.bool),
    )


def _wrong(
    annotation: Annotation, size: tuple[int, int], classes: Sequence[str]
) -> tuple[str, Fault] | None:
    """Returns what is wrong with an object, or None."""
    left, top, right, bottom = annotation.box
    shown = ", ".join(f"{value:g}" for value in annotation.box)
    if annotation.label not in classes:
        return f"its class {annotation.label!r} is none of {', '.join(classes)}", "unknown class"
    # Written so that NaN fails, too.
    if not (right > left and bottom > top):
        return f"({shown}) has no area; left, top, right, bottom must rise", "no area"
    if not inside(annotation.box, size):
        return f"({shown}) lies outside its picture of {size[1]}x{size[0]} pixels", "outside"
    return None


def check_images(
    found: Iterator[BoxedImage] | Sequence[BoxedImage],
    classes: Sequence[str],
    where: str,
    invalid: InvalidItems,
    ids: Sequence[int | str] = (),
) -> BoxedImages:
    """Leaves out pictures that are missing, broken or of another size, and puts the others together.

    Of each file only its start and end are read, and the whole where these leave doubt.

    Raises:
        UserError: If nothing is left.
    """
    pictures = []
    for picture in found:
        try:
            check_size(str(picture.path), picture.size, *image_sizes(picture.path))
            if not looks_whole(*file_ends(picture.path)):
                picture.read()
        except ImageError as error:
            invalid.add(error)
        else:
            pictures.append(picture)
    if not pictures:
        why = f"; the last is {invalid.errors[-1]}" if invalid.errors else ""
        raise UserError(f"{where} names no picture that can be read{why}")
    return BoxedImages(pictures=tuple(pictures), classes=tuple(classes), ids=tuple(ids))
