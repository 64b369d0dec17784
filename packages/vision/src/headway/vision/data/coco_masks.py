"""Masks of objects, and maps of segments, in COCO's formats."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from headway.core.errors import InputError, UserError
from headway.core.training.invalid import InvalidItems
from headway.vision.data.coco import coco_categories, coco_entries, coco_id, read_coco_file
from headway.vision.data.reading import ImageError
from headway.vision.models.masks import MaskTarget


@dataclass(frozen=True)
class MaskedObjects:
    """A picture and what its objects are made of.

    Args:
        picture: Where it lies.
        size: Height and width, as its annotation says.
        read: Returns the masks, of that size.
    """

    picture: Path
    size: tuple[int, int]
    read: Callable[[], MaskTarget]


@dataclass(frozen=True)
class MaskedPictures:
    """Pictures with masks of one file.

    Args:
        pictures: The pictures.
        classes: Names of the classes, in the order of the labels.
        stuff: Labels of classes without instances.
    """

    pictures: list[MaskedObjects]
    classes: list[str]
    stuff: frozenset[int]


@dataclass(frozen=True)
class _Part:
    """A mask of a file."""

    label: int
    crowd: bool
    shape: Any


def read_instances(annotations: Path, pictures: Path, invalid: InvalidItems) -> MaskedPictures:
    """Reads objects whose masks are polygons or run lengths.

    Args:
        annotations: The JSON file.
        pictures: The folder of the pictures.
        invalid: Takes what is wrong with masks and pictures.

    Raises:
        UserError: If the file is missing, no JSON, or not in this format.

    Source:
        https://cocodataset.org/#format-data
    """
    content = read_coco_file(annotations)
    labels, classes = _labels(content, annotations)
    parts: dict[Any, list[_Part]] = defaultdict(list)
    for place, one in enumerate(coco_entries(content, "annotations", annotations), start=1):
        where = f"{annotations}, annotation {one.get('id', place)}"
        try:
            part = _Part(_label(one, labels), bool(one.get("iscrowd", 0)), _shape(one))
            parts[coco_id(one.get("image_id"), "its picture")].append(part)
        except (UserError, ValueError) as error:
            invalid.add(InputError(where, str(error)))
    found = []
    for number, picture, size in _images(content, annotations, pictures, invalid):
        own = parts.get(number, [])
        found.append(MaskedObjects(picture, size, _Drawn(str(picture), size, own)))
    return MaskedPictures(found, classes, frozenset())


def read_panoptic(
    annotations: Path, pictures: Path, maps: Path, invalid: InvalidItems
) -> MaskedPictures:
    """Reads maps of segments: PNGs whose colours are ids, and what each id is.

    Args:
        annotations: The JSON file.
        pictures: The folder of the pictures.
        maps: The folder of the PNGs.
        invalid: Takes what is wrong with maps and pictures.

    Raises:
        UserError: If the file is missing, no JSON, or not in this format.

    Source:
        https://cocodataset.org/#format-data, 4. Panoptic Segmentation.
    """
    content = read_coco_file(annotations)
    labels, classes = _labels(content, annotations)
    things = {one.get("id"): one.get("isthing", 1) for one in content["categories"]}
    stuff = frozenset(label for number, label in labels.items() if not things.get(number, 1))
    segments: dict[Any, tuple[Path, list[_Part]]] = {}
    for place, one in enumerate(coco_entries(content, "annotations", annotations), start=1):
        try:
            file = maps / str(one.get("file_name"))
            if not file.is_file():
                raise ValueError(f"its map {file} is missing")
            parts = [
                _Part(_label(part, labels), bool(part.get("iscrowd", 0)), coco_id(part["id"], "it"))
                for part in coco_entries(one, "segments_info", annotations)
            ]
            segments[coco_id(one.get("image_id"), "its picture")] = file, parts
        except (UserError, ValueError, KeyError) as error:
            invalid.add(InputError(f"{annotations}, annotation {place}", str(error)))
    found = []
    for number, picture, size in _images(content, annotations, pictures, invalid):
        if number not in segments:
            invalid.add(InputError(str(annotations), f"the picture {picture.name} has no map"))
            continue
        found.append(MaskedObjects(picture, size, _Mapped(*segments[number], size)))
    return MaskedPictures(found, classes, stuff)


def _labels(content: dict[str, Any], annotations: Path) -> tuple[dict[Any, int], list[str]]:
    named = coco_categories(content, annotations)
    ids = sorted(named, key=lambda number: (isinstance(number, str), number))
    return {number: label for label, number in enumerate(ids)}, [named[number] for number in ids]


def _label(entry: dict[str, Any], labels: dict[Any, int]) -> int:
    number = coco_id(entry.get("category_id"), "its class")
    if number not in labels:
        raise ValueError(f"its category_id is {number}, which is no category")
    return labels[number]


def _images(
    content: dict[str, Any], annotations: Path, pictures: Path, invalid: InvalidItems
) -> Iterator[tuple[Any, Path, tuple[int, int]]]:
    for place, image in enumerate(coco_entries(content, "images", annotations), start=1):
        where = f"{annotations}, image {place}"
        path = pictures / str(image.get("file_name"))
        size = image.get("height"), image.get("width")
        if not path.is_file():
            invalid.add(InputError(where, f"its picture {path} is missing"))
        elif not all(isinstance(side, int) and side > 0 for side in size):
            invalid.add(InputError(where, f"its height and width are {size[0]!r} and {size[1]!r}"))
        else:
            yield coco_id(image.get("id"), where), path, (int(size[0]), int(size[1]))  # pyright: ignore[reportArgumentType]


def _shape(entry: dict[str, Any]) -> Any:
    """Returns polygons or run lengths as they stand there.

    Raises:
        ValueError: If they are neither.
    """
    shape = entry.get("segmentation")
    if isinstance(shape, list) and shape:
        for polygon in shape:
            fits = isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0
            if not fits or not all(isinstance(v, int | float) and abs(v) < 1e9 for v in polygon):
                raise ValueError(
                    "its segmentation has a polygon that is no list of 3 points or more"
                )
        return shape
    if isinstance(shape, dict) and isinstance(shape.get("counts"), list | str):
        return shape
    raise ValueError("its segmentation is neither polygons nor run lengths with counts and size")


@dataclass(frozen=True)
class _Drawn:
    """Masks of polygons and run lengths."""

    name: str
    size: tuple[int, int]
    parts: list[_Part]

    def __call__(self) -> MaskTarget:
        from pycocotools import mask as coder

        masks = np.zeros((len(self.parts), *self.size), dtype=bool)
        for place, part in enumerate(self.parts):
            shape = part.shape
            try:
                if isinstance(shape, list):
                    shape = coder.merge(coder.frPyObjects(shape, *self.size))
                elif isinstance(shape["counts"], list):
                    shape = coder.frPyObjects(shape, *self.size)
                drawn = coder.decode(shape)
            except (TypeError, ValueError, KeyError, IndexError) as error:
                raise ImageError(self.name, f"a mask of it cannot be read ({error})") from None
            if drawn.shape != self.size:
                raise ImageError(
                    self.name,
                    f"a mask of it is {drawn.shape[1]}x{drawn.shape[0]}, the picture {self.size[1]}x"
                    f"{self.size[0]}",
                )
            masks[place] = drawn > 0
        return _target(torch.from_numpy(masks), self.parts)


@dataclass(frozen=True)
class _Mapped:
    """Masks of a map of ids."""

    file: Path
    parts: list[_Part]
    size: tuple[int, int]

    def __call__(self) -> MaskTarget:
        try:
            with Image.open(self.file) as image:
                colours = np.asarray(image.convert("RGB")).astype(np.int64)
        except (OSError, SyntaxError, ValueError, EOFError):
            raise ImageError(str(self.file), "not a map that Pillow can read") from None
        if colours.shape[:2] != self.size:
            raise ImageError(
                str(self.file),
                f"it is {colours.shape[1]}x{colours.shape[0]}, its picture {self.size[1]}x{self.size[0]}",
            )
        ids = torch.from_numpy(colours @ np.array([1, 256, 65536]))
        own = torch.tensor([part.shape for part in self.parts], dtype=torch.long)
        unknown = set(ids.unique().tolist()) - {0, *own.tolist()}
        if unknown:
            raise ImageError(
                str(self.file), f"it has the id {min(unknown)}, which is none of its segments_info"
            )
        return _target(ids == own[:, None, None], self.parts)


def _target(masks: torch.Tensor, parts: list[_Part]) -> MaskTarget:
    return MaskTarget(
        masks,
        torch.tensor([part.label for part in parts], dtype=torch.long),
        torch.tensor([part.crowd for part in parts], dtype=torch.bool),
    )
