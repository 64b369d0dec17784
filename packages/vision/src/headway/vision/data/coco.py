"""The annotation format of COCO."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from headway.core.errors import InputError, UserError
from headway.core.reading import read_json
from headway.core.training.invalid import InvalidItems
from headway.vision.data.box_format import Claim, check_format
from headway.vision.data.boxed_images import (
    Annotation,
    BoxedImage,
    BoxedImages,
    boxed_image,
    check_images,
)
from headway.vision.data.picture_index import PictureIndex
from headway.vision.data.reading import ImageError, image_sizes

BoxFormat = Literal["xywh", "xyxy"]

FOLDERS = ("annotations", "annotation", "annots", "anns", "labels", "gt", "json", "coco")
"""Names of folders of annotations, beside which pictures lie."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Entry:
    """A picture of an annotation file with its objects as they stand there."""

    number: int | str
    path: Path
    shown: str
    size: tuple[int, int]
    objects: list[dict[str, Any]]


def read_coco(
    annotations: Path,
    pictures: Path | None,
    invalid: InvalidItems,
    classes: Sequence[str] | None = None,
    boxes: BoxFormat | None = None,
) -> BoxedImages:
    """Reads an annotation file; ids may begin anywhere, have gaps, and be texts.

    A size that an image lacks is that of its picture. Of categories of one name the one that has objects
    counts. ``category_ids`` of the result are the ids of the file.

    Args:
        annotations: The JSON file.
        pictures: Folder of the pictures; None looks for them beside and below the file, and beside the
            folder that it lies in where that is one for annotations.
        invalid: Takes what is wrong with boxes and pictures.
        classes: Names of the classes in the order of the labels; by default those of the file, by id.
        boxes: What the numbers of ``bbox`` are; None takes the format's left, top, width and height, and
            refuses a file whose boxes look like, or could as well be, left, top, right and bottom.

    Raises:
        UserError: If the file is missing, no JSON, or not in this format.

    Source:
        https://cocodataset.org/#format-data
    """
    content = read_coco_file(annotations)
    objects = _objects(content, annotations, invalid)
    named = coco_categories(content, annotations)
    ids = sorted(named, key=lambda number: (isinstance(number, str), number))
    known = list(classes) if classes is not None else [named[number] for number in ids]
    by_name = {named[number]: number for number in ids}
    entries = list(_entries(content, annotations, pictures, objects, invalid))
    if boxes is None:
        check_format(
            _claims(entries),
            str(annotations),
            "left, top, width, height",
            "set boxes to xywh if that is what they are, and to xyxy if they are corners",
        )
    # A tensor holds no texts: where ids are some, pictures are counted.
    counted = any(isinstance(entry.number, str) for entry in entries)

    def read() -> Iterator[BoxedImage]:
        for place, entry in enumerate(entries, start=1):
            found = []
            for box, one in enumerate(entry.objects, start=1):
                where = f"annotation {one['id']}" if one.get("id") is not None else f"box {box}"
                try:
                    found.append(_annotation(one, named, where, boxes))
                except (TypeError, ValueError, OverflowError) as error:
                    invalid.add(InputError(f"{entry.shown}, {where}", str(error)))
            yield boxed_image(
                entry.path,
                place if counted else int(entry.number),
                entry.size,
                found,
                name=entry.shown,
                classes=known,
                invalid=invalid,
            )

    of_file = [by_name[name] for name in known] if set(known) <= set(by_name) else []
    return check_images(read(), known, str(annotations), invalid, of_file)


def _objects(
    content: dict[str, Any], annotations: Path, invalid: InvalidItems
) -> dict[int | str, list[dict[str, Any]]]:
    """Returns the annotations of each ``image_id``."""
    objects: dict[int | str, list[dict[str, Any]]] = defaultdict(list)
    for place, entry in enumerate(coco_entries(content, "annotations", annotations), start=1):
        try:
            objects[coco_id(entry.get("image_id"), "it")].append(entry)
        except UserError as error:
            invalid.add(InputError(f"{annotations}, annotation {place}", str(error)))
    return objects


def _entries(
    content: dict[str, Any],
    annotations: Path,
    pictures: Path | None,
    objects: dict[int | str, list[dict[str, Any]]],
    invalid: InvalidItems,
) -> Iterator[_Entry]:
    """Yields the images of a file, with paths and sizes of their pictures."""
    images: dict[int | str, tuple[int, dict[str, Any]]] = {}
    for place, image in enumerate(coco_entries(content, "images", annotations), start=1):
        try:
            number = coco_id(image.get("id"), "it")
        except UserError as error:
            invalid.add(InputError(f"{annotations}, image {place}", str(error)))
            continue
        if number in images:
            raise UserError(f"{annotations} has two images of the id {number}")
        images[number] = place, image
    for number in objects.keys() - images.keys():
        invalid.add(
            InputError(str(annotations), f"boxes of image_id {number}, which is no picture")
        )
    folders = [annotations.parent] if pictures is None else [pictures]
    if pictures is None and annotations.parent.name.lower() in FOLDERS:
        folders.append(annotations.absolute().parent.parent)
    indices = [PictureIndex(folder) for folder in folders]
    for number, (place, image) in images.items():
        try:
            name, size = _picture(image)
            path = _found(name, indices, annotations)
            if size is None:
                size = image_sizes(path)[1]
        except ImageError as error:
            invalid.add(error)
        except (TypeError, ValueError) as error:
            invalid.add(InputError(f"{annotations}, image {place}", str(error)))
        else:
            yield _Entry(number, path, f"{annotations}, {name}", size, objects.get(number, []))


def _found(name: str, indices: Sequence[PictureIndex], annotations: Path) -> Path:
    """Returns the picture that an image names: as the path says, else wherever one of its name lies."""
    direct = [index.root / name for index in indices]
    if annotations.is_relative_to(indices[0].root):
        direct.insert(0, annotations.parent / name)
    for path in direct:
        if path.is_file():
            return path
    for index in indices:
        path = index.find(name, annotations)
        if path is not None:
            return path
    return direct[0]


def _claims(entries: Sequence[_Entry]) -> Iterator[Claim]:
    for entry in entries:
        for one in entry.objects:
            try:
                a, b, c, d = _numbers(one)
            except (TypeError, ValueError, OverflowError):
                continue
            area = one.get("area")
            yield Claim(
                meant=(a, b, a + c, b + d),
                corners=(a, b, c, d),
                size=entry.size,
                area=area if isinstance(area, int | float) and 0 < area < 1e300 else None,
                outline=_outline(one.get("segmentation")),
            )


def _outline(polygons: Any) -> tuple[float, float, float, float] | None:
    """Returns left, top, right, bottom of polygons; None for masks and whatever else there may be."""
    if not isinstance(polygons, list) or not polygons:
        return None
    values: list[Any] = []
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            return None
        values += polygon
    if not all(isinstance(value, int | float) and abs(value) < 1e9 for value in values):
        return None
    across, down = values[::2], values[1::2]
    return min(across), min(down), max(across), max(down)


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


def coco_categories(content: dict[str, Any], where: str | Path) -> dict[int | str, str]:
    """Returns the names of the categories of a file by id; of those of one name, the one with objects.

    Raises:
        UserError: If there are none, or two of one id, or two of one name that both have objects.
    """
    named: dict[int | str, str] = {}
    for place, entry in enumerate(coco_entries(content, "categories", where), start=1):
        number, name = coco_id(entry.get("id"), f"{where}, category {place}"), entry.get("name")
        if not isinstance(name, str):
            raise UserError(f"{where}, category {place}: its name is {name!r}, which is no text")
        if number in named:
            raise UserError(f"{where} has two categories of the id {number}")
        named[number] = name
    if not named:
        raise UserError(f"{where} has no categories")
    if len(set(named.values())) < len(named):
        _drop_unused_twins(named, where, coco_entries(content, "annotations", where))
    return named


def _drop_unused_twins(
    named: dict[int | str, str], where: str | Path, entries: Sequence[dict[str, Any]]
) -> None:
    """Leaves out categories without objects whose name another one has, as export programs write them."""
    used = set()
    for entry in entries:
        with suppress(UserError):
            used.add(coco_id(entry.get("category_id"), "it"))
    for name in {name for name in named.values() if list(named.values()).count(name) > 1}:
        twins = [number for number in named if named[number] == name]
        with_objects = [number for number in twins if number in used]
        if len(with_objects) > 1:
            shown = " and ".join(str(number) for number in with_objects)
            raise UserError(
                f"{where} has two categories of the name {name!r} with objects (ids {shown}); rename one, or "
                "give their objects one id"
            )
        kept = (with_objects or twins)[0]
        dropped = [number for number in twins if number != kept]
        log.warning(
            "%s: the category %r is there %d times; that of the id %s counts, the others have no objects",
            where, name, len(twins), kept,
        )  # fmt: skip
        for number in dropped:
            del named[number]


def _picture(image: dict[str, Any]) -> tuple[str, tuple[int, int] | None]:
    """Returns the path and the size of an image; None for a size that is not said."""
    name = image.get("file_name")
    if not isinstance(name, str) or not name or "\0" in name:
        raise ValueError(f"its file_name is {name!r}, which is no path")
    size = (image.get("height"), image.get("width"))
    if size == (None, None):
        return name, None
    if not all(isinstance(side, int | float) and side > 0 and side % 1 == 0 for side in size):
        raise ValueError(f"height and width of {name} are {size[0]!r} and {size[1]!r}")
    return name, (int(size[0] or 0), int(size[1] or 0))


def _numbers(entry: dict[str, Any]) -> tuple[float, float, float, float]:
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise ValueError(f"its bbox is {box!r}; it needs left, top, width and height")
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in box):
        raise ValueError(f"its bbox is {box!r}, which are no four numbers")
    a, b, c, d = (float(value) for value in box)
    return a, b, c, d


def _annotation(
    entry: dict[str, Any], named: dict[int | str, str], where: str, boxes: BoxFormat | None
) -> Annotation:
    a, b, c, d = _numbers(entry)
    if entry.get("category_id") is None:
        raise ValueError("it has no category_id")
    number = coco_id(entry["category_id"], "the class")
    return Annotation(
        label=named.get(number, f"id {number}"),
        box=(a, b, c, d) if boxes == "xyxy" else (a, b, a + c, b + d),
        crowd=bool(entry.get("iscrowd", 0)),
        where=where,
    )
