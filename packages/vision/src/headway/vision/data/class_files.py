"""Files that say what the classes of masks are called, and which ids or colours they have there."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from headway.core.errors import InputError
from headway.core.reading import read_json, read_lines, read_table
from headway.vision.data.mask_classes import Colour

USUAL = (
    "classes.txt", "class_names.txt", "labels.txt", "label_colors.txt", "labelmap.txt", "classes.csv",
    "class_dict.csv", "classes.tsv", "classes.json", "labels.json", "id2label.json",
)  # fmt: skip
"""Names that such files have beside pictures and masks."""

_NAME, _ID = (
    ("name", "class", "class_name", "label", "title"),
    ("id", "value", "index", "category_id"),
)
_COLOURS = (("r", "g", "b"), ("red", "green", "blue"))
# CamVid: "64 128 64<tab>Animal". CVAT: "road:128,64,128::".
_CAMVID = re.compile(r"(\d+)[\s,]+(\d+)[\s,]+(\d+)[\s,]+(\D.*)")
_CVAT = re.compile(r"([^:#]+):(\d+),(\d+),(\d+):[^:]*:[^:]*")


class NamedClass(NamedTuple):
    """A class as a file has it.

    Args:
        name: Of the class.
        id: In masks of ids; the place in the file if None.
        colour: In masks of colours; none if None.
    """

    name: str
    id: int | None = None
    colour: Colour | None = None


def read_class_file(path: Path) -> list[NamedClass]:
    """Reads the classes of masks.

    A text file has a name in each line, CamVid's ``r g b name`` or CVAT's ``name:r,g,b::``; a .csv or .tsv
    the columns name, and id or r, g, b or both; a .json a list of names, a list of such rows, or a mapping
    from id to name (``id2label``) or from name to colour.

    Raises:
        InputError: If it is none of these, or has no class.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        found = _of_json(path)
    elif suffix in (".csv", ".tsv"):
        rows = ((f"{path}:{line}", row) for line, row in read_table(path, "file of classes"))
        found = [_of_row(where, row) for where, row in rows]
    else:
        found = list(_of_lines(path))
    if not found:
        raise InputError(str(path), "names no class")
    return found


def _of_lines(path: Path) -> Iterator[NamedClass]:
    for number, line in read_lines(path, "file of classes"):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        where = f"{path}:{number}"
        if match := _CAMVID.fullmatch(text):
            *rgb, name = match.groups()
            yield NamedClass(name.strip(), colour=_colour(where, rgb))
        elif match := _CVAT.fullmatch(text):
            name, *rgb = match.groups()
            yield NamedClass(name.strip(), colour=_colour(where, rgb))
        else:
            yield NamedClass(text)


def _of_json(path: Path) -> list[NamedClass]:
    content = read_json(path, "file of classes", expected=object)
    if isinstance(content, dict):
        pairs = content.items()
        if all(isinstance(value, str) for value in content.values()):
            return [NamedClass(name, _number(str(path), key)) for key, name in pairs]
        return [NamedClass(name, colour=_colour(f"{path}: {name}", rgb)) for name, rgb in pairs]
    if not isinstance(content, list):
        raise InputError(str(path), f"holds {content!r:.40}, expected a list or a mapping")
    found = []
    for place, one in enumerate(content):
        where = f"{path}: entry {place}"
        if isinstance(one, str):
            found.append(NamedClass(one))
        elif isinstance(one, dict):
            found.append(_of_row(where, one))
        else:
            raise InputError(where, f"is {one!r:.40}, expected a name or a mapping with one")
    return found


def _of_row(where: str, row: Mapping[str, Any]) -> NamedClass:
    cells = {str(key).strip().lower(): value for key, value in row.items()}
    name = next((cells[key] for key in _NAME if cells.get(key) is not None), None)
    if not isinstance(name, str) or not name.strip():
        raise InputError(
            where, f"has no name; columns are name, and id or r, g, b, got {list(cells)}"
        )
    number = next((cells[key] for key in _ID if cells.get(key) not in (None, "")), None)
    rgb = cells.get("color") or cells.get("colour")
    for keys in _COLOURS:
        if all(cells.get(key) not in (None, "") for key in keys):
            rgb = [cells[key] for key in keys]
    return NamedClass(
        name.strip(),
        None if number is None else _number(where, number),
        None if rgb is None else _colour(where, rgb),
    )


def _number(where: str, value: Any) -> int:
    text = str(value).strip()
    if not (text.isascii() and text.isdigit()):
        raise InputError(where, f"has the id {value!r:.40}, expected a whole number from 0 on")
    return int(text)


def _colour(where: str, rgb: Any) -> Colour:
    if isinstance(rgb, list | tuple) and len(rgb) == 3:
        red, green, blue = (_number(where, part) for part in rgb)
        if max(red, green, blue) < 256:
            return red, green, blue
    raise InputError(where, f"has the colour {rgb!r:.40}, expected three numbers in 0 .. 255")
