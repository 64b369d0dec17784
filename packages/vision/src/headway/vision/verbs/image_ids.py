"""The ids and sizes that pictures have in a ground truth."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from headway.core.errors import UserError
from headway.vision.data.coco import coco_entries, coco_id, read_coco_file
from headway.vision.verbs.inputs import Item


class Truth(NamedTuple):
    """A picture in a ground truth.

    Args:
        number: Its ``image_id``.
        size: Height and width that its boxes are about, upright or as it is stored; None if not said.
    """

    number: int | str
    size: tuple[int, int] | None


def read_image_ids(file: str, items: Sequence[Item]) -> dict[Item, Truth]:
    """Returns what a ground truth says about each picture.

    A picture is the image whose ``file_name`` is its path, else the only one whose file has its name.

    Args:
        file: A ground truth in COCO's format.
        items: The pictures.

    Raises:
        UserError: If the file is not in this format, or a picture is none of it, several, or one twice.
    """
    paths: dict[str, Truth] = {}
    names: dict[str, list[Truth]] = defaultdict(list)
    for place, image in enumerate(coco_entries(read_coco_file(file), "images", file), start=1):
        where = f"{file}, image {place}"
        name: Any = image.get("file_name")
        if not isinstance(name, str):
            raise UserError(f"{where} has the file_name {name!r}, which is no text")
        size: Any = (image.get("height"), image.get("width"))
        whole = all(isinstance(side, int) and side > 0 for side in size)
        truth = Truth(coco_id(image.get("id"), where), size if whole else None)
        paths[PurePosixPath(name).as_posix()] = truth
        names[PurePosixPath(name).name].append(truth)
    found: dict[Item, Truth] = {}
    taken: dict[int | str, Item] = {}
    for item in items:
        truth = _truth(item, paths, names, file)
        if truth.number in taken:
            raise UserError(
                f"{item.shown} and {taken[truth.number].shown} are both the image {truth.number} of {file}; "
                "give the folder that its file_name is relative to"
            )
        found[item], taken[truth.number] = truth, item
    return found


def _truth(item: Item, paths: dict[str, Truth], names: dict[str, list[Truth]], file: str) -> Truth:
    for path in (item.name, item.shown):
        if path in paths:
            return paths[path]
    same = names.get(PurePosixPath(item.name).name, [])
    if len(same) == 1:
        return same[0]
    many = f"{len(same)} images" if same else "no image"
    raise UserError(f"{item.shown} is {many} of {file}, by file_name; give pictures that are in it")
