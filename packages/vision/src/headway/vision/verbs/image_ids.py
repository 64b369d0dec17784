"""The ids that pictures have in a ground truth."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from headway.core.errors import UserError
from headway.vision.data.coco import coco_entries, coco_id, read_coco_file
from headway.vision.verbs.inputs import Item


def read_image_ids(file: str, items: Sequence[Item]) -> dict[Item, int | str]:
    """Returns the ``image_id`` of each picture.

    A picture is the image whose ``file_name`` is its path, else the only one whose file has its name.

    Args:
        file: A ground truth in COCO's format.
        items: The pictures.

    Raises:
        UserError: If the file is not in this format, or a picture is none of it, several, or one twice.
    """
    paths: dict[str, int | str] = {}
    names: dict[str, list[int | str]] = defaultdict(list)
    for place, image in enumerate(coco_entries(read_coco_file(file), "images", file), start=1):
        where = f"{file}, image {place}"
        name: Any = image.get("file_name")
        if not isinstance(name, str):
            raise UserError(f"{where} has the file_name {name!r}, which is no text")
        number = coco_id(image.get("id"), where)
        paths[PurePosixPath(name).as_posix()] = number
        names[PurePosixPath(name).name].append(number)
    found: dict[Item, int | str] = {}
    taken: dict[int | str, Item] = {}
    for item in items:
        number = _number(item, paths, names, file)
        if number in taken:
            raise UserError(
                f"{item.shown} and {taken[number].shown} are both the image {number} of {file}; "
                "give the folder that its file_name is relative to"
            )
        found[item], taken[number] = number, item
    return found


def _number(
    item: Item, paths: dict[str, int | str], names: dict[str, list[int | str]], file: str
) -> int | str:
    for path in (item.name, item.shown):
        if path in paths:
            return paths[path]
    same = names.get(PurePosixPath(item.name).name, [])
    if len(same) == 1:
        return same[0]
    many = f"{len(same)} images" if same else "no image"
    raise UserError(f"{item.shown} is {many} of {file}, by file_name; give pictures that are in it")
