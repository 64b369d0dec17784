"""The annotation format of YOLO: a text file beside each picture."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from headway.core.errors import InputError, UserError
from headway.core.reading import read_lines, read_yaml
from headway.core.training.invalid import InvalidItems
from headway.vision.data.box_format import Claim, Numbers, check_format
from headway.vision.data.boxed_images import (
    Annotation,
    BoxedImage,
    BoxedImages,
    boxed_image,
    check_images,
)
from headway.vision.data.class_folders import SPLIT_NAMES
from headway.vision.data.picture_index import pictures_below
from headway.vision.data.reading import EXTENSIONS, ImageError, image_sizes
from headway.vision.data.split_names import split_of

NAME_FILES = ("classes.txt", "obj.names", "labels.txt", "_darknet.labels")

# Of shares beyond 1, which rounding leaves.
_SLACK = 0.01


@dataclass(frozen=True, kw_only=True)
class YOLOFolder:
    """Where the pictures of each split lie, and what the numbers of the classes mean.

    Args:
        where: The file or folder that says so, for messages.
        splits: The pictures of each split; all of them are ``train`` where nothing tells splits apart.
        classes: Name of each class by its number; None where no file names them.
    """

    where: Path
    splits: Mapping[str, Sequence[Path]]
    classes: Mapping[int, str] | None


@dataclass(frozen=True)
class _Line:
    number: int
    label: int
    box: Numbers
    polygon: bool


def find_yolo(path: Path) -> YOLOFolder:
    """Finds out how a folder in YOLO's format is laid out.

    A ``.yaml`` file with ``names`` says where the pictures of each split are: folders, lists of pictures
    (.txt), or several of them; nothing else in it is read. Without one, all pictures of the folder are
    taken, in the splits that folders are called after, and ``classes.txt`` names the classes.

    Args:
        path: The .yaml file, or a folder.

    Raises:
        UserError: If several .yaml files could be meant, or what one names is missing.
    """
    file = path if path.is_file() else _yaml_of(path)
    if file is not None:
        return _from_yaml(file)
    splits: dict[str, list[Path]] = {}
    for picture in pictures_below(path):
        splits.setdefault(split_of(picture) or "train", []).append(path / picture)
    for name in NAME_FILES:
        for found in (path / name, path / "labels" / name):
            if found.is_file():
                lines = [line.strip() for _, line in read_lines(found, "list of classes")]
                while lines and not lines[-1]:
                    lines.pop()
                return YOLOFolder(where=path, splits=splits, classes=dict(enumerate(lines)))
    return YOLOFolder(where=path, splits=splits, classes=None)


def read_yolo(
    folder: YOLOFolder,
    split: str,
    invalid: InvalidItems,
    classes: Sequence[str] | None = None,
) -> BoxedImages:
    """Reads the pictures of a split with their boxes.

    Numbers are shares of the upright picture, as YOLO's programs read them. A polygon counts as the box
    around it. A picture without a text file, or with an empty one, has no objects. ``category_ids`` of
    the result are the numbers of the classes.

    Args:
        folder: What ``find_yolo`` found.
        split: Such as ``train``.
        invalid: Takes what is wrong with boxes and pictures.
        classes: Names of the classes in the order of the labels; by default all, by number.

    Raises:
        UserError: If no picture of the split has a text file.

    Source:
        https://docs.ultralytics.com/datasets/detect (the format; no code was read)
    """
    pictures = folder.splits[split]
    where = f"{folder.where}, {split}"
    texts = {picture: label_file(picture) for picture in pictures}
    if pictures and not any(text.is_file() for text in texts.values()):
        raise UserError(
            f"{where}: none of {len(pictures)} pictures has a text file with its boxes; that of "
            f"{pictures[0]} would be {texts[pictures[0]]}"
        )
    lines: dict[Path, list[_Line]] = {}
    sizes: dict[Path, tuple[int, int]] = {}
    for picture, text in texts.items():
        try:
            sizes[picture] = image_sizes(picture)[1]
        except ImageError as error:
            invalid.add(error)
        else:
            lines[picture] = list(_lines(text, invalid)) if text.is_file() else []
    check_format(
        _claims(lines, sizes),
        where,
        "centre and size",
        "make them centre x, centre y, width and height",
    )
    names = folder.classes
    if names is None:
        most = max((line.label for found in lines.values() for line in found), default=0)
        names = {number: str(number) for number in range(most + 1)}
    known = list(classes) if classes is not None else [names[number] for number in sorted(names)]
    by_name = {name: number for number, name in names.items()}

    def read() -> Iterator[BoxedImage]:
        for number, (picture, found) in enumerate(lines.items()):
            height, width = sizes[picture]
            objects = []
            for line in found:
                if line.label not in names:
                    shown = ", ".join(str(one) for one in sorted(names))
                    reason = f"its class {line.label} is none of {shown}"
                    invalid.add(InputError(f"{texts[picture]}, line {line.number}", reason))
                    continue
                box = tuple(a * b for a, b in zip(line.box, (width, height) * 2, strict=True))
                left, top, right, bottom = box
                objects.append(
                    Annotation(
                        label=names[line.label],
                        box=(left, top, right, bottom),
                        where=f"line {line.number}",
                    )
                )
            yield boxed_image(
                picture,
                number,
                (height, width),
                objects,
                name=str(texts[picture]),
                classes=known,
                invalid=invalid,
            )

    ids = [by_name[name] for name in known] if set(known) <= set(by_name) else []
    return check_images(read(), known, where, invalid, ids)


def label_file(picture: Path) -> Path:
    """Returns the text file of a picture: in ``labels`` if that is in ``images``, else beside it."""
    parts = list(picture.parts)
    beside = picture.with_suffix(".txt")
    for place in range(len(parts) - 2, -1, -1):
        if parts[place].lower() in ("images", "jpegimages"):
            parts[place] = "labels"
            found = Path(*parts).with_suffix(".txt")
            return beside if beside.is_file() and not found.is_file() else found
    return beside


def looks_like_yolo(path: Path) -> bool:
    """Whether a folder is in YOLO's format: a .yaml file of it names classes, or text files have labels."""
    if _yaml_of(path) is not None:
        return True
    return any(label_file(path / picture).is_file() for picture in pictures_below(path))


def _yaml_of(path: Path) -> Path | None:
    """Returns the .yaml file of a folder that names classes."""
    found = []
    for name in _yamls(path):
        content: Any = None
        try:
            content = read_yaml(name)
        except UserError:
            continue
        if isinstance(content, dict) and "names" in content:
            found.append(name)
    if len(found) > 1:
        shown = ", ".join(file.name for file in found)
        raise UserError(f"{path} has several .yaml files with names ({shown}); give one of them")
    return found[0] if found else None


def _yamls(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.suffix.lower() in (".yaml", ".yml"))


def _from_yaml(file: Path) -> YOLOFolder:
    content = read_yaml(file, "YOLO data file")
    if not isinstance(content, dict) or "names" not in content:
        raise UserError(f"{file} is no data file of YOLO: it has no names")
    classes = _named(content, file)
    roots = [file.parent]
    if isinstance(content.get("path"), str):
        roots.insert(0, file.parent / Path(content["path"]).expanduser())
    splits: dict[str, list[Path]] = {}
    for split, keys in SPLIT_NAMES.items():
        entry = next((content[key] for key in keys if content.get(key)), None)
        if entry is None:
            continue
        given = entry if isinstance(entry, list) else [entry]
        if not all(isinstance(one, str) for one in given):
            raise UserError(f"{file}: {split} is {entry!r}, which is no path and no list of paths")
        # Only a test split may be missing: published files name those that nobody gave away.
        found = [_place(one, roots) for one in given]
        if None in found:
            if split == "test":
                continue
            raise UserError(
                f"{file}: {split} is {given[found.index(None)]!r}, which is neither in "
                f"{' nor in '.join(str(root) for root in roots)}"
            )
        splits[split] = [picture for place in found if place for picture in _pictures(place)]
    if not splits.get("train"):
        raise UserError(f"{file} names no pictures for train")
    return YOLOFolder(where=file, splits=splits, classes=classes)


def _named(content: dict[str, Any], file: Path) -> dict[int, str]:
    names = content["names"]
    named = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(named, dict) or not named:
        raise UserError(f"{file}: names is {names!r:.80}; it is a list, or names by number")
    for number, name in named.items():
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise UserError(f"{file}: {number!r} is no number of a class")
        if not isinstance(name, str | int | float):
            raise UserError(f"{file}: the name of the class {number} is {name!r:.80}")
    named = {number: str(name) for number, name in sorted(named.items())}
    if len(set(named.values())) < len(named):
        twice = next(name for name in named.values() if list(named.values()).count(name) > 1)
        raise UserError(f"{file} has two classes of the name {twice!r}; rename one")
    count = content.get("nc")
    if count is not None and count != len(named):
        raise UserError(f"{file}: nc is {count}, but there are {len(named)} names; correct one")
    return named


def _place(entry: str, roots: Sequence[Path]) -> Path | None:
    """Returns the folder or list that an entry names; export programs write a ``../`` that leads astray."""
    plain = entry.replace("\\", "/")
    for candidate in (plain, plain.removeprefix("../")):
        for root in roots:
            if (root / candidate).exists():
                return root / candidate
    return None


def _pictures(place: Path) -> list[Path]:
    if place.is_dir():
        return [place / picture for picture in pictures_below(place)]
    found = []
    for _, line in read_lines(place, "list of pictures"):
        name = line.strip().replace("\\", "/")
        if name and PurePosixPath(name).suffix.lower() in EXTENSIONS:
            found.append(place.parent / name)
    return found


def _lines(text: Path, invalid: InvalidItems) -> Iterator[_Line]:
    try:
        lines = [pair for pair in read_lines(text, "text file") if pair[1].strip()]
    except InputError as error:
        invalid.add(error)
        return
    for number, line in lines:
        try:
            yield _line(number, line)
        except ValueError as error:
            invalid.add(InputError(f"{text}, line {number}", str(error)))


def _line(number: int, line: str) -> _Line:
    words = line.split()
    try:
        label, *values = (float(word) for word in words)
    except ValueError:
        raise ValueError(f"{line:.60} holds what is no number") from None
    polygon = len(values) >= 6 and len(values) % 2 == 0
    if len(values) != 4 and not polygon:
        raise ValueError(
            f"has {len(words)} numbers; it needs class, centre x, centre y, width and height, or a class "
            "and the points of a polygon"
        )
    if not label.is_integer() or label < 0:
        raise ValueError(f"its class {words[0]} is no number of a class")
    if not all(math.isfinite(value) and -_SLACK <= value <= 1 + _SLACK for value in values):
        raise ValueError(f"{line:.60}: values lie in 0..1, as shares of the picture")
    if polygon:
        across, down = values[::2], values[1::2]
        box = (min(across), min(down), max(across), max(down))
    else:
        x, y, width, height = values
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return _Line(number, int(label), box, polygon)


def _claims(
    lines: Mapping[Path, Sequence[_Line]], sizes: Mapping[Path, tuple[int, int]]
) -> Iterator[Claim]:
    for picture, found in lines.items():
        height, width = sizes[picture]
        for line in found:
            if line.polygon:
                continue
            left, top, right, bottom = line.box
            corners = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
            meant, other = (
                (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
                for box in (line.box, corners)
            )
            yield Claim(meant=meant, corners=other, size=sizes[picture])
