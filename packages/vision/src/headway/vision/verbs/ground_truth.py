"""What pictures and classes are called in a ground truth."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from headway.core.errors import UserError
from headway.vision.data.coco import coco_categories, coco_entries, coco_id, read_coco_file
from headway.vision.verbs.inputs import Item

Id = int | str


@dataclass(frozen=True)
class Truth:
    """A picture in a ground truth.

    Args:
        number: Its ``image_id``, written as the file has it: ``"7"`` stays a text.
        file_name: Its name there.
        size: Height and width that its boxes are about, upright or as it is stored; None if not said.
    """

    number: Id
    file_name: str
    size: tuple[int, int] | None


@dataclass(frozen=True)
class GroundTruth:
    """What a file in COCO's format says about the pictures and classes of an answer.

    Args:
        pictures: Each picture.
        category_ids: The ids of the classes.
        unknown: Classes that it does not have; they get ids of their own.
    """

    pictures: dict[Item, Truth]
    category_ids: tuple[Id, ...]
    unknown: tuple[str, ...] = ()


def read_ground_truth(
    file: str, items: Sequence[Item], classes: Sequence[str], ids: Sequence[Id]
) -> GroundTruth:
    """Returns the ids of pictures and classes in a ground truth.

    A picture is the image whose ``file_name`` is its path, else the only one whose file has its name. A class
    is the category of its name, whatever the training data called it.

    Args:
        file: A ground truth in COCO's format.
        items: The pictures.
        classes: Names of the model's classes.
        ids: Their ids in the training data, for classes that the ground truth lacks, where it leaves them
            free.

    Raises:
        UserError: If the file is not in this format, has none of the classes, or a picture is none of it,
            several, or one twice.
    """
    content = read_coco_file(file)
    pictures = _pictures(content, file, items)
    named = {name: number for number, name in coco_categories(content, file).items()}
    unknown = tuple(name for name in classes if name not in named)
    if len(unknown) == len(classes):
        raise UserError(
            f"{file} has none of the model's classes ({', '.join(classes[:5])}), but "
            f"{', '.join([*named][:5])}; its categories must be named like those of the training data"
        )
    whole = [number for number in (*named.values(), *ids) if isinstance(number, int)]
    free = max(whole, default=0) + 1
    found: list[Id] = []
    for name, own in zip(classes, ids, strict=True):
        if name in named:
            found.append(_as_written(content, named[name]))
        elif own not in named.values() and own not in found:
            found.append(own)
        else:
            found.append(free)
            free += 1
    return GroundTruth(pictures, tuple(found), unknown)


def _pictures(content: dict[str, Any], file: str, items: Sequence[Item]) -> dict[Item, Truth]:
    paths: dict[str, Truth] = {}
    names: dict[str, list[Truth]] = defaultdict(list)
    for place, image in enumerate(coco_entries(content, "images", file), start=1):
        where = f"{file}, image {place}"
        name: Any = image.get("file_name")
        if not isinstance(name, str):
            raise UserError(f"{where} has the file_name {name!r}, which is no text")
        size: Any = (image.get("height"), image.get("width"))
        whole = all(isinstance(side, int) and side > 0 for side in size)
        coco_id(image.get("id"), where)
        truth = Truth(image["id"], name, size if whole else None)
        paths[PurePosixPath(name).as_posix()] = truth
        names[PurePosixPath(name.replace("\\", "/")).name].append(truth)
    found: dict[Item, Truth] = {}
    taken: dict[Id, Item] = {}
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


def _as_written(content: dict[str, Any], number: Id) -> Id:
    """Returns the id of a category as the file has it, so that other programs find it there."""
    written = (entry["id"] for entry in content["categories"])
    return next(one for one in written if coco_id(one, "it") == number)
