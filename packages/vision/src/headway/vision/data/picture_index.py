"""Pictures below a folder, found by the names that annotations give them."""

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePath, PurePosixPath

from headway.vision.data.reading import EXTENSIONS, ImageError
from headway.vision.data.split_names import words_of


class PictureIndex:
    """Finds pictures wherever they lie below a folder; the folder is listed at the first question.

    Annotations name pictures by a path of the machine where they were written, by one relative to some
    folder, or by a bare name. Of several pictures of a name that one is meant whose path ends most as the
    given one does, then the one whose folders share most words with the path of the annotation
    (``images/val2017`` and ``instances_val2017.json``).

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names: dict[str, list[PurePosixPath]] | None = None

    def find(self, name: str, annotation: Path) -> Path | None:
        """Returns the picture that an annotation means, or None if there is none of that name.

        Args:
            name: Its name or path as the annotation has it; without extension, that of any picture.
            annotation: The file that names it.

        Raises:
            ImageError: If several fit alike.
        """
        asked = PurePosixPath(name.replace("\\", "/"))
        found = self._listed().get(asked.name.lower(), [])
        if len(found) < 2:
            return self.root / found[0] if found else None
        # What lies above the folder says nothing.
        below = annotation.is_relative_to(self.root)
        here = set(
            _words(annotation.relative_to(self.root) if below else PurePath(annotation.name))
        )
        marks = {path: (_common(path, asked), len(here & set(_words(path)))) for path in found}
        best = max(marks.values())
        chosen = [path for path in found if marks[path] == best]
        if len(chosen) > 1:
            shown = ", ".join(str(path) for path in chosen[:3])
            raise ImageError(
                str(annotation), f"{name} may be each of {shown} in {self.root}; name its folder"
            )
        return self.root / chosen[0]

    def _listed(self) -> dict[str, list[PurePosixPath]]:
        if self._names is None:
            self._names = defaultdict(list)
            for path in pictures_below(self.root):
                self._names[path.name.lower()].append(path)
                self._names[path.stem.lower()].append(path)
        return self._names


def files_below(root: Path, *suffixes: str) -> list[PurePosixPath]:
    """Returns the paths, relative to a folder, of its files with one of these endings, in order."""
    return sorted(
        path for path in _walk(root) if path.suffix.lower() in suffixes and path.name[0] != "."
    )


def pictures_below(root: Path) -> list[PurePosixPath]:
    """Returns the paths of all pictures below a folder, relative to it, in order."""
    return files_below(root, *EXTENSIONS)


def _walk(root: Path) -> Iterator[PurePosixPath]:
    for where, folders, files in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = PurePosixPath(Path(where).relative_to(root).as_posix())
        yield from (inside / name for name in files)


def _common(path: PurePosixPath, asked: PurePosixPath) -> int:
    """Returns how many parts at the ends of two paths are the same."""
    same = 0
    for mine, theirs in zip(reversed(path.parts), reversed(asked.parts), strict=False):
        if mine != theirs:
            break
        same += 1
    return same


def _words(path: PurePath) -> list[str]:
    return [word for part in (*path.parts[:-1], path.stem) for word in words_of(part)]
