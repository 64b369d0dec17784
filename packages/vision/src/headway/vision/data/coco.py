"""The annotation format of COCO."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from headway.core.errors import InputError, UserError
from headway.core.reading import read_json
from headway.core.training.invalid import InvalidItems
from headway.vision.data.boxed_images import (
    Annotation,
    BoxedImage,
    BoxedImages,
    boxed_image,
    check_images,
)


def read_coco(
    annotations: Path,
    pictures: Path,
    invalid: InvalidItems,
    classes: Sequence[str] | None = None,
) -> BoxedImages:
    """Reads an annotation file; ids may begin anywhere, have gaps, and be texts.

    Args:
        annotations: The JSON file.
        pictures: Folder of the pictures.
        invalid: Takes what is wrong with boxes and pictures.
        classes: Names of the classes in the order of the labels; by default those of the file, by id.

    Raises:
        UserError: If the file is missing, no JSON, or not in this format.

    Source:
        https://cocodataset.org/#format-data
    """
    content = read_coco_file(annotations)
    named = _categories(content, annotations)
    ids = tuple(sorted(named, key=lambda number: (isinstance(number, str), number)))
    known = classes or [named[number] for number in ids]
    objects: dict[int | str, list[dict[str, Any]]] = defaultdict(list)
    for place, entry in enumerate(coco_entries(content, "annotations", annotations), start=1):
        try:
            objects[coco_id(entry.get("image_id"), "it")].append(entry)
        except UserError as error:
            invalid.add(InputError(f"{annotations}, annotation {place}", str(error)))
    images: dict[int | str, dict[str, Any]] = {}
    for place, image in enumerate(coco_entries(content, "images", annotations), start=1):
        try:
            number = coco_id(image.get("id"), "it")
        except UserError as error:
            invalid.add(InputError(f"{annotations}, image {place}", str(error)))
            continue
        if number in images:
            raise UserError(f"{annotations} has two images of the id {number}")
        images[number] = image
    for number in objects.keys() - images.keys():
        invalid.add(
            InputError(str(annotations), f"boxes of image_id {number}, which is no picture")
        )
    # A tensor holds no texts: where ids are some, pictures are counted.
    counted = any(isinstance(number, str) for number in images)

    def read() -> Iterator[BoxedImage]:
        for place, (number, image) in enumerate(images.items(), start=1):
            try:
                name, size = _picture(image)
            except (TypeError, ValueError) as error:
                invalid.add(InputError(f"{annotations}, image {place}", str(error)))
                continue
            shown = f"{annotations}, {name}"
            found = []
            for box, entry in enumerate(objects[number], start=1):
                try:
                    found.append(_annotation(entry, named))
                except (TypeError, ValueError, OverflowError) as error:
                    invalid.add(InputError(f"{shown}, box {box}", str(error)))
            yield boxed_image(
                pictures / name,
                place if counted else int(number),
                size,
                found,
                name=shown,
                classes=known,
                invalid=invalid,
            )

    return check_images(read(), known, str(annotations), invalid, ids if classes is None else ())


def read_coco_file(path: str | Path) -> dict[str, Any]:
    """Reads a file in COCO's format; NaN and infinity in it are left to those who check the numbers.

    Raises:
        UserError: If it is missing or no JSON.
    """
    return read_json(path, "annotation file", constants=True)


def coco_entries(content: dict[str, Any], key: str, where: str | Path) -> list[dict[str, Any]]:
    """Returns a list of a file in COCO's format.

    Raises:
        UserError: If it is missing or no list of mappings.
    """
    found = content.get(key)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        what = "is missing" if found is None else "is no list of mappings"
        raise UserError(
            f"{where} is not in COCO's format: it needs images, annotations and categories; "
            f"{key!r} {what}"
        )
    return found


def coco_id(value: Any, where: str) -> int | str:
    """Returns an id: a number, also where a text or a float without fraction holds one, else the text.

    Raises:
        UserError: If it is neither, or needs over 64 bits.
    """
    digits = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20
    whole = isinstance(value, float) and value.is_integer()
    number = int(value) if digits or whole else value
    if isinstance(number, str) and number:
        return number
    if isinstance(number, bool) or not isinstance(number, int) or abs(number) >= 2**63:
        raise UserError(f"{where} has the id {value!r}; an id is a whole number or a text")
    return number


def _categories(content: dict[str, Any], where: Path) -> dict[int | str, str]:
    named: dict[int | str, str] = {}
    for place, entry in enumerate(coco_entries(content, "categories", where), start=1):
        number, name = coco_id(entry.get("id"), f"{where}, category {place}"), entry.get("name")
        if not isinstance(name, str):
            raise UserError(f"{where}, category {place}: its name is {name!r}, which is no text")
        if number in named:
            raise UserError(f"{where} has two categories of the id {number}")
        if name in named.values():
            raise UserError(f"{where} has two categories of the name {name!r}; rename one")
        named[number] = name
    if not named:
        raise UserError(f"{where} has no categories")
    return named


def _picture(image: dict[str, Any]) -> tuple[str, tuple[int, int]]:
    name = image.get("file_name")
    if not isinstance(name, str) or not name or "\0" in name:
        raise ValueError(f"its file_name is {name!r}, which is no path")
    size = (image.get("height"), image.get("width"))
    if not all(isinstance(side, int | float) and side > 0 and side % 1 == 0 for side in size):
        raise ValueError(f"height and width of {name} are {size[0]!r} and {size[1]!r}")
    return name, (int(size[0] or 0), int(size[1] or 0))


def _annotation(entry: dict[str, Any], named: dict[int | str, str]) -> Annotation:
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise ValueError(f"its bbox is {box!r}; it needs left, top, width and height")
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in box):
        raise ValueError(f"its bbox is {box!r}, which are no four numbers")
    left, top, width, height = (float(value) for value in box)
    number = coco_id(entry.get("category_id"), "the class")
    return Annotation(
        label=named.get(number, f"id {number}"),
        box=(left, top, left + width, top + height),
        crowd=bool(entry.get("iscrowd", 0)),
    )
