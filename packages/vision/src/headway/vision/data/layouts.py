"""In which format the boxes of a folder are, and which of its files are which split."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from headway.core.errors import UserError
from headway.core.training.invalid import InvalidItems
from headway.vision.data.boxed_images import BoxedImages
from headway.vision.data.coco import BoxFormat, read_coco
from headway.vision.data.picture_index import files_below
from headway.vision.data.reading import EXTENSIONS
from headway.vision.data.split_names import split_of
from headway.vision.data.voc import (
    annotation_files,
    is_flat,
    read_voc,
    read_voc_files,
    with_splits,
)
from headway.vision.data.yolo import find_yolo, looks_like_yolo, read_yolo

Format = Literal["coco", "voc", "yolo"]
Parts = dict[str, BoxedImages]

# Of a file in COCO's format one of these stands near its start, whatever wrote it.
_KEYS = ('"images"', '"annotations"', '"categories"')
_START = 2**16
_ENDINGS = (".json", ".xml", ".yaml", ".yml", ".txt", *EXTENSIONS)


def recognise(path: Path) -> Format:
    """Returns the format of annotations, seen from their names alone.

    Args:
        path: A folder, an annotation file of COCO (.json) or a data file of YOLO (.yaml).

    Raises:
        UserError: If there are none, or of several formats.
    """
    if path.is_file():
        formats: dict[str, Format] = {".json": "coco", ".yaml": "yolo", ".yml": "yolo"}
        if path.suffix.lower() not in formats:
            raise UserError(
                f"{path} is no data set: a file is COCO's .json or YOLO's .yaml; else give the folder"
            )
        return formats[path.suffix.lower()]
    if not path.is_dir():
        raise UserError(f"{path} does not exist; give the folder of pictures and annotations")
    found: list[Format] = []
    if not is_flat(path) or files_below(path, ".xml"):
        found.append("voc")
    if coco_files(path):
        found.append("coco")
    if looks_like_yolo(path):
        found.append("yolo")
    if len(found) > 1:
        raise UserError(
            f"{path} has annotations of {' and '.join(found)}; choose one with format, or give its folder"
        )
    if not found:
        raise UserError(
            f"{path} has no annotations: neither COCO's .json, nor Pascal VOC's .xml, nor YOLO's .txt beside "
            "its pictures"
        )
    return found[0]


def unwrapped(path: Path) -> Path:
    """Returns the folder that holds the data set: archives often wrap everything in one more.

    Raises:
        UserError: If several folders below list splits of their own.
    """
    path = with_splits(path)
    while path.is_dir() and is_flat(path):
        inside = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
        folders = [entry for entry in inside if entry.is_dir()]
        data = [entry for entry in inside if entry.suffix.lower() in _ENDINGS]
        if len(folders) != 1 or data or not any(folders[0].iterdir()):
            break
        path = folders[0]
    return path


def read_layout(
    path: Path,
    format: Format,
    invalid: InvalidItems,
    classes: Sequence[str] | None = None,
    boxes: BoxFormat | None = None,
) -> Parts:
    """Reads all splits that a folder tells apart; ``train`` alone if it tells none.

    Args:
        path: The folder, or the file that ``recognise`` takes.
        format: Of the annotations.
        invalid: Takes what is wrong with boxes and pictures.
        classes: Names of the classes in the order of the labels; by default those of ``train``.
        boxes: As for ``read_coco``.

    Raises:
        UserError: If there is no ``train``, or two files could be the same split.
    """
    readers = _READERS[format](path, invalid, boxes)
    if "train" not in readers:
        raise UserError(f"{path} has {' and '.join(readers)}, but nothing called train")
    parts: Parts = {}
    for split in ("train", "val", "test"):
        if split in readers:
            known = parts["train"].classes if parts else classes
            parts[split] = readers[split](known)
    return parts


def coco_files(path: Path) -> list[Path]:
    """Returns the files of a folder that are in COCO's format by their beginning."""
    return [path / name for name in files_below(path, ".json") if _begins_like_coco(path / name)]


Reader = Callable[[Sequence[str] | None], BoxedImages]


def _coco(path: Path, invalid: InvalidItems, boxes: BoxFormat | None) -> Mapping[str, Reader]:
    root = path if path.is_dir() else None
    files = coco_files(path) if root else [path]
    # Published sets have captions and key points beside the boxes.
    files = [file for file in files if "instances" in file.stem] or files
    splits: dict[str, Path] = {}
    for file in files:
        split = split_of(file.relative_to(path), stem=True) if root and len(files) > 1 else None
        split = split or "train"
        if split in splits:
            raise UserError(
                f"{path} has several annotation files that may be {split}: {splits[split].name}, "
                f"{file.name}; give one of them, or each by COCODetection's train, val and test"
            )
        splits[split] = file

    def reader(file: Path) -> Reader:
        return lambda known: read_coco(file, root, invalid, known, boxes)

    return {split: reader(file) for split, file in splits.items()}


def _voc(path: Path, invalid: InvalidItems, boxes: BoxFormat | None) -> Mapping[str, Reader]:
    if not is_flat(path):
        listed = {file.stem for file in (path / "ImageSets" / "Main").glob("*.txt")}
        names = {"train": "train", "val": "val", "test": "test"}
        found = {split: name for split, name in names.items() if name in listed} or names
        return {
            split: lambda known, name=name: read_voc(path, name, invalid, known)
            for split, name in found.items()
        }
    splits: dict[str, list[Path]] = {}
    for file in annotation_files(path):
        splits.setdefault(split_of(file.relative_to(path)) or "train", []).append(file)
    return {
        split: lambda known, files=files: read_voc_files(path, files, path, invalid, known)
        for split, files in splits.items()
    }


def _yolo(path: Path, invalid: InvalidItems, boxes: BoxFormat | None) -> Mapping[str, Reader]:
    folder = find_yolo(path)
    return {
        split: lambda known, split=split: read_yolo(folder, split, invalid, known)
        for split in folder.splits
    }


_READERS: dict[Format, Callable[[Path, InvalidItems, BoxFormat | None], Mapping[str, Reader]]] = {
    "coco": _coco,
    "voc": _voc,
    "yolo": _yolo,
}


def _begins_like_coco(file: Path) -> bool:
    try:
        with open(file, "rb") as opened:
            start = opened.read(_START).decode("utf-8", errors="replace")
    except OSError:
        return False
    return any(key in start for key in _KEYS)
