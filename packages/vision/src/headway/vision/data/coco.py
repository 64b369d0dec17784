"""The annotation format of COCO."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from headway.core.errors import InputError, UserError
from headway.core.training.invalid import InvalidItems
from headway.vision.data.boxed_pictures import (
    Annotation,
    BoxedPicture,
    BoxedPictures,
    boxed_picture,
    check_pictures,
)


def read_coco(
    annotations: Path,
    pictures: Path,
    invalid: InvalidItems,
    classes: Sequence[str] | None = None,
) -> BoxedPictures:
    """Reads an annotation file; ids of classes may begin anywhere and have gaps.

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
    try:
        content = json.loads(annotations.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{annotations} cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise UserError(f"{annotations} is not JSON ({error})") from None
    try:
        named = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
        known = classes or [named[number] for number in sorted(named)]
        objects: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for entry in content["annotations"]:
            objects[entry["image_id"]].append(entry)
        images = content["images"]
        numbers = {image["id"] for image in images}
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{annotations} is not in COCO's format: it needs images, annotations and categories "
            f"(missing: {error})"
        ) from None
    for number in objects.keys() - numbers:
        invalid.add(
            InputError(str(annotations), f"boxes of image_id {number}, which is no picture")
        )

    def read() -> Iterator[BoxedPicture]:
        for image in images:
            yield boxed_picture(
                pictures / image["file_name"],
                int(image["id"]),
                (int(image["height"]), int(image["width"])),
                [_annotation(entry, named) for entry in objects[image["id"]]],
                name=f"{annotations}, {image['file_name']}",
                classes=known,
                invalid=invalid,
            )

    try:
        return check_pictures(read(), known, str(annotations), invalid)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{annotations} is not in COCO's format (at {error})") from None


def _annotation(entry: dict[str, Any], named: dict[Any, str]) -> Annotation:
    left, top, width, height = (float(value) for value in entry["bbox"])
    number = entry["category_id"]
    return Annotation(
        label=named.get(number, f"id {number}"),
        box=(left, top, left + width, top + height),
        crowd=bool(entry.get("iscrowd", 0)),
    )
