"""Labelled pictures from class folders: which file belongs to which class and which split."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headway.core.errors import UserError
from headway.core.training.invalid import InvalidItems
from headway.vision.data.deep import bits_of, spread
from headway.vision.data.reading import EXTENSIONS, ImageError, looks_whole, read_image
from headway.vision.data.sources import Source

SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
# What file managers leave behind.
LITTER = ("thumbs.db", "desktop.ini")


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Labelled pictures that are read when they are asked for.

    Args:
        source: Where they lie.
        names: Their paths in the source.
        labels: Index of each picture's class, (N,) int64.
        classes: Names of the classes.
    """

    source: Source
    names: tuple[str, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def take(self, indices: NDArray[np.int64]) -> Self:
        """Returns some of the pictures."""
        names = tuple(self.names[index] for index in indices)
        return replace(self, names=names, labels=self.labels[indices])

    def full_name(self, index: int) -> str:
        """Returns the path that a person would look for."""
        return str(self.source.path / self.names[index])

    def read(self, index: int, mode: Literal["RGB", "L"] = "RGB", *, bits: int = 8) -> Image.Image:
        """Decodes one picture; ``bits`` as for ``read_image``."""
        data = self.source.read(self.names[index])
        return read_image(data, self.full_name(index), mode, bits=bits)

    def bits(self) -> int:
        """Returns the fewest bits that hold the values of the pictures of over 8 bits (``bits_of``)."""
        return bits_of(self.source.read(name) for name in spread(self.names))


def find_root(source: Source) -> str:
    """Returns the folder that holds the class folders: archives often wrap everything in one more."""
    root = ""
    while True:
        folders = _children(source.folders, root)
        pictures = any(_is_image(name) for name in _children(source.names, root))
        # One class alone cannot be told from a wrapper, except that it holds pictures.
        if len(folders) != 1 or pictures or not _children(source.folders, root + folders[0] + "/"):
            return root
        root += folders[0] + "/"


def find_splits(source: Source, root: str) -> dict[str, str]:
    """Returns the folder of each split, for those that exist; empty if the folders are classes."""
    folders = {name.lower(): name for name in _children(source.folders, root)}
    found = {
        split: f"{root}{folders[name]}/"
        for split, names in SPLIT_NAMES.items()
        for name in names
        if name in folders
    }
    return found if "train" in found else {}


def find_images(
    source: Source,
    root: str,
    invalid: InvalidItems,
    classes: Sequence[str] | None = None,
) -> Pictures:
    """Lists the pictures of the class folders below ``root``; subfolders of a class belong to it.

    Args:
        source: A folder or an archive.
        root: Where the class folders lie, "" or ending with a slash.
        invalid: Takes the files that are no pictures.
        classes: Classes of the training data, for a validation or test folder; None takes the folders.

    Raises:
        UserError: If there are no pictures, a class has none, or a class is unknown.
    """
    where = source.path / root
    folders = [name for name in _children(source.folders, root) if not name.startswith(".")]
    if classes is None:
        classes = folders
    elif unknown := sorted(set(folders) - set(classes)):
        raise UserError(
            f"{where} has the class {unknown[0]!r}, which the training data lacks "
            f"({', '.join(classes)}); rename or remove the folder"
        )
    index = {name: number for number, name in enumerate(classes)}
    names, labels = [], []
    for name in source.names:
        if not name.startswith(root) or _is_litter(name):
            continue
        folder, slash, _ = name.removeprefix(root).partition("/")
        if slash and folder not in index:
            continue  # hidden, so no class
        if slash and _is_image(name):
            names.append(name)
            labels.append(index[folder])
        elif slash:
            invalid.add(ImageError(str(source.path / name), "not a picture by its extension"))
        elif _is_image(name):
            invalid.add(ImageError(str(source.path / name), "a picture outside the class folders"))
    if not names:
        raise UserError(
            f"{where} holds no pictures in class folders such as {where / 'cat' / '1.jpg'}; "
            f"known extensions: {', '.join(EXTENSIONS)}"
        )
    return Pictures(
        source=source,
        names=tuple(names),
        labels=np.asarray(labels, dtype=np.int64),
        classes=tuple(classes),
    )


def check_classes(pictures: Pictures) -> None:
    """Raises a UserError if a class of the training data has no pictures."""
    counts = np.bincount(pictures.labels, minlength=len(pictures.classes))
    if counts.min() == 0:
        empty = pictures.classes[int(counts.argmin())]
        raise UserError(
            f"class {empty!r} in {pictures.source.path} has no usable pictures; "
            "add some or remove its folder"
        )


def drop_broken(pictures: Pictures, invalid: InvalidItems) -> Pictures:
    """Finds truncated and other broken pictures before training does.

    Files whose first and last bytes are in order are taken as whole; only the others are decoded.
    """
    keep = []
    for index, name in enumerate(pictures.names):
        try:
            if not looks_whole(*pictures.source.ends(name)):
                pictures.read(index)
        except ImageError as error:
            invalid.add(error)
            continue
        keep.append(index)
    return pictures.take(np.asarray(keep, dtype=np.int64))


def _children(paths: Sequence[str], root: str) -> list[str]:
    inside = (path.removeprefix(root) for path in paths if path.startswith(root))
    return [path for path in inside if path and "/" not in path]


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in EXTENSIONS and not _is_litter(name)


def _is_litter(name: str) -> bool:
    last = PurePosixPath(name).name.lower()
    return last.startswith(".") or last in LITTER
