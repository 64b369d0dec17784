"""Which pictures of a folder have which masks, and which split they are of, however they lie there."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from headway.core.errors import UserError
from headway.core.reading import read_lines
from headway.vision.data.picture_index import pictures_below
from headway.vision.data.split_names import split_of

PICTURE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages", "pictures", "photos")
MASK_FOLDERS = (
    "masks", "mask", "labels", "label", "annotations", "annotation", "annot", "segmentationclass", "gt",
    "ground_truth", "groundtruth",
)  # fmt: skip
SUFFIXES = ("_mask", "_L", "_label", "_labels", "_gt", "-mask", "_seg", "_segmentation")
"""Ends of names of masks: ``a.jpg`` and ``a_mask.png``."""

# Masks of something else: the objects of Pascal VOC; what archives of a Mac carry.
_OTHER = ("segmentationobject", "__macosx")
_LISTS = PurePosixPath("ImageSets/Segmentation")
_ANNOT = "annot"


class Pair(NamedTuple):
    """A picture and its mask, if there is one.

    Args:
        picture: The picture.
        mask: Its mask.
        wanted: What the mask would be called.
    """

    picture: Path
    mask: Path | None
    wanted: str


@dataclass(frozen=True, kw_only=True)
class MaskFolder:
    """What lies in a folder of pictures and masks.

    Args:
        path: The folder.
        parts: Pairs of each split; all are ``train`` where nothing tells splits apart.
        lonely: Masks without a picture.
        split: Whether anything tells splits apart.
    """

    path: Path
    parts: dict[str, list[Pair]] = field(default_factory=dict)
    lonely: list[Path] = field(default_factory=list)
    split: bool = False


class _File(NamedTuple):
    path: PurePosixPath
    is_mask: bool
    split: str | None
    key: tuple[str, ...]


def find_pairs(path: Path) -> MaskFolder:
    """Finds pictures and their masks.

    Masks lie in a folder of their own (``images`` and ``masks``, ``JPEGImages`` and ``SegmentationClass``,
    ``train`` and ``trainannot``), with or without a suffix of ``SUFFIXES``, or beside their pictures with
    one. Splits are folders above or below these, or the lists of ``ImageSets/Segmentation``. A split without
    any mask, as published test sets are, is left out.

    Raises:
        UserError: If there is no picture, no mask, or nothing called train while something is called val.
    """
    if not path.is_dir():
        raise UserError(f"{path} is no folder; give the one of pictures and masks")
    path = _unwrapped(path)
    names = pictures_below(path)
    if not names:
        raise UserError(f"{path} has no pictures; give the folder of pictures and masks")
    stems = {(name.parent, name.stem) for name in names}
    files = [one for name in names if (one := _seen(name, stems)) is not None]
    masks: dict[tuple[str | None, tuple[str, ...]], list[PurePosixPath]] = defaultdict(list)
    for one in files:
        if one.is_mask:
            masks[one.split, one.key].append(one.path)
    if not masks:
        raise UserError(
            f"{path} has {len(names)} pictures and no masks: those lie in a folder called masks, labels, "
            "annotations, SegmentationClass or trainannot, or beside their pictures as NAME_mask.png"
        )
    lists = _listed(path)
    parts: dict[str, list[Pair]] = defaultdict(list)
    used = set()
    for one in files:
        if one.is_mask:
            continue
        found = masks.get((one.split, one.key), [])
        if len(found) > 1:
            shown = " and ".join(str(path / mask) for mask in found[:2])
            raise UserError(
                f"{path / one.path} has several masks: {shown}; leave one of them there"
            )
        mask = path / found[0] if found else None
        used.update(found)
        stem = one.path.stem
        splits = [s for s, stems in lists.items() if stem in stems] if lists else [one.split]
        for split in splits:
            parts[split or "train"].append(Pair(path / one.path, mask, f"{stem}.png"))
    lonely = [path / p for of_key in masks.values() for p in of_key if p not in used]
    parts = {split: parts[split] for split in ("train", "val", "test") if split in parts}
    whole = {split: pairs for split, pairs in parts.items() if any(one.mask for one in pairs)}
    if "train" not in whole:
        raise UserError(
            f"{path} has no picture with a mask in train; there are {', '.join(parts) or 'none listed'}"
        )
    told = bool(lists) or any(one.split for one in files)
    return MaskFolder(path=path, parts=whole, lonely=lonely, split=told)


def _seen(name: PurePosixPath, stems: set[tuple[PurePosixPath, str]]) -> _File | None:
    """Returns what a name tells: a mask or a picture, its split, and what it shares with the other file."""
    rest, is_mask, named = [], False, False
    split = split_of(name)
    for part in name.parent.parts:
        low = part.lower()
        if low in _OTHER:
            return None
        if low in MASK_FOLDERS:
            is_mask = named = True
        elif low in PICTURE_FOLDERS:
            named = True
        elif low.endswith(_ANNOT) and split_of(PurePosixPath(low.removesuffix(_ANNOT)) / "x"):
            is_mask = named = True
            split = split_of(PurePosixPath(low.removesuffix(_ANNOT)) / "x")
        elif split_of(PurePosixPath(part) / "x") is None:
            rest.append(part)
    stem = name.stem
    suffix = next((end for end in SUFFIXES if stem.endswith(end) and stem != end), None)
    if suffix is not None:
        base = stem.removesuffix(suffix)
        if is_mask or (not named and (name.parent, base) in stems):
            return _File(name, True, split, (*rest, base))
    return _File(name, is_mask, split, (*rest, stem))


def _listed(path: Path) -> dict[str, set[str]]:
    """Returns the names of pictures in the lists of splits."""
    found = {}
    for split in ("train", "val", "test"):
        file = path / _LISTS / f"{split}.txt"
        if file.is_file():
            lines = (line.strip() for _, line in read_lines(file, "list of pictures"))
            found[split] = {
                PurePosixPath(line).stem if "/" in line else line for line in lines if line
            }
    return found


def _unwrapped(path: Path) -> Path:
    """Returns the folder that holds the data: archives often wrap everything in one more."""
    while True:
        inside = [entry for entry in path.iterdir() if not entry.name.startswith((".", "__"))]
        if len(inside) != 1 or not inside[0].is_dir() or _role(inside[0].name):
            return path
        path = inside[0]


def _role(name: str) -> bool:
    low = name.lower()
    return (
        low in (*PICTURE_FOLDERS, *MASK_FOLDERS) or split_of(PurePosixPath(low) / "x") is not None
    )
