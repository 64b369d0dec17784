"""The split that the name of a file or of a folder speaks of."""

import re
from pathlib import PurePath

from headway.vision.data.class_folders import SPLIT_NAMES

_SPLITS = {name: split for split, names in SPLIT_NAMES.items() for name in names}


def split_of(path: PurePath, *, stem: bool = False) -> str | None:
    """Returns ``train``, ``val`` or ``test`` if a folder of a path is called so, else None.

    ``train2017``, ``valid`` and ``instances_val`` are such names. The folder nearest to the file decides.

    Args:
        path: Of a file, relative to the folder of the data set: what lies above says nothing.
        stem: Whether the name of the file counts too, before those of the folders.
    """
    names = [*path.parent.parts, path.stem] if stem else list(path.parent.parts)
    for name in reversed(names):
        for word in reversed(words_of(name)):
            if word.rstrip("0123456789") in _SPLITS:
                return _SPLITS[word.rstrip("0123456789")]
    return None


def words_of(name: str) -> list[str]:
    """Returns the words of a name in small letters: ``instances_val2017`` has two."""
    return [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
