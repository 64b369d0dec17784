"""Folders and archives of pictures behind one face: names, and bytes by name."""

import os
import shutil
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from headway.core.errors import InputError, UserError
from headway.core.files import atomic_write
from headway.core.packed import unpacked
from headway.core.reading import MAX_BYTES, check_file
from headway.vision.data.cache import cache_entry, fingerprint
from headway.vision.data.reading import ImageError

ARCHIVES = (".tar", ".tar.gz", ".tgz")


class Source(ABC):
    """A folder or an archive.

    Attributes:
        path: Where it is.
        names: All files, as sorted paths relative to its root, with ``/`` on every system.
        folders: All folders in the same way, empty ones too.
    """

    path: Path
    names: list[str]
    folders: list[str]

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Returns the content of one file."""

    @abstractmethod
    def ends(self, name: str, size: int = 64) -> tuple[bytes, bytes]:
        """Returns the first and last bytes of one file."""

    def stream(self) -> Iterator[tuple[str, bytes]]:
        """Yields every file once, in the order of ``names``."""
        for name in self.names:
            yield name, self.read(name)


def file_ends(path: Path, size: int = 64) -> tuple[bytes, bytes]:
    """Returns the first and last bytes of a file."""
    with _opened(path) as file:
        head = file.read(size)
        file.seek(max(file.seek(0, os.SEEK_END) - size, 0))
        return head, file.read(size)


def read_file(path: Path) -> bytes:
    """Returns the content of a file.

    Raises:
        ImageError: If it cannot be opened, or is a pipe, a device or larger than ``MAX_BYTES``.
    """
    with _opened(path) as file:
        return file.read()


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        check_file(path, "picture")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(str(path), f"has {size:,} bytes; a picture has at most {MAX_BYTES:,}")
        with open(path, "rb") as file:
            yield file
    except InputError as error:
        raise ImageError(error.name, error.reason) from None
    except OSError as error:
        raise ImageError(str(path), error.strerror or str(error)) from None


class Folder(Source):
    """A folder, searched through all its subfolders; links to folders are followed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names, self.folders = [], []
        for where, folders, files in os.walk(path, followlinks=True):
            inside = Path(where).relative_to(path)
            self.names += [(inside / name).as_posix() for name in files]
            self.folders += [(inside / name).as_posix() for name in folders]
        self.names.sort()
        self.folders.sort()

    def read(self, name: str) -> bytes:
        """Returns the content of one file."""
        return read_file(self.path / name)

    def ends(self, name: str, size: int = 64) -> tuple[bytes, bytes]:
        """Returns the first and last bytes of one file."""
        return file_ends(self.path / name, size)


class Archive(Source):
    """A tar archive, read in place; a compressed one is unpacked into the cache once.

    Args:
        path: A ``.tar``, ``.tar.gz`` or ``.tgz`` file.
        cache: Folder for what is unpacked, or None for the user's.
    """

    def __init__(self, path: Path, cache: Path | None = None) -> None:
        self.path = check_file(path, "tar archive")
        self._plain = path if path.suffix == ".tar" else _unpacked(path, cache)
        try:
            with tarfile.open(self._plain, "r:") as tar:
                members = tar.getmembers()
        except (tarfile.TarError, OSError, ValueError) as error:
            raise UserError(f"{path} is not a readable tar archive ({error})") from None
        outside = next((m.name for m in members if ".." in m.name.split("/")), None)
        if outside is not None:
            raise UserError(f"{path} names {outside!r}, which lies outside of it; make it anew")
        self._places = {
            member.name.removeprefix("./"): (member.offset_data, member.size)
            for member in members
            # A sparse one may claim any size, whatever is stored.
            if member.isfile() and not member.issparse()
        }
        self.names = sorted(self._places)
        # Some archives name no folders, some no empty ones.
        named = {member.name.removeprefix("./") for member in members if member.isdir()} - {"."}
        parents = {parent.as_posix() for name in self.names for parent in Path(name).parents}
        self.folders = sorted((named | parents) - {"."})

    def read(self, name: str) -> bytes:
        """Returns the content of one file."""
        start, size = self._places[name]
        return self._bytes(start, size)

    def ends(self, name: str, size: int = 64) -> tuple[bytes, bytes]:
        """Returns the first and last bytes of one file."""
        start, total = self._places[name]
        tail = min(size, total)
        return self._bytes(start, tail), self._bytes(start + total - tail, tail)

    def stream(self) -> Iterator[tuple[str, bytes]]:
        """Yields every file once through a single file handle."""
        with open(self._plain, "rb") as file:
            for name in self.names:
                start, size = self._places[name]
                file.seek(start)
                yield name, file.read(size)

    def _bytes(self, start: int, size: int) -> bytes:
        # Opened for each read: a file handle shared by worker processes would share its position.
        with open(self._plain, "rb") as file:
            file.seek(start)
            return file.read(size)


def open_source(path: str | Path, cache: Path | None = None) -> Source:
    """Opens a folder or a tar archive.

    Raises:
        UserError: If the path is missing or neither of them.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise UserError(f"{path} does not exist; give a folder of class folders or a tar of one")
    if path.name.endswith(ARCHIVES):
        return Archive(path, cache)
    raise UserError(f"{path} is neither a folder nor an archive ({', '.join(ARCHIVES)})")


def _unpacked(path: Path, cache: Path | None) -> Path:
    entry = cache_entry(f"{fingerprint(path)}.tar", cache)
    if not entry.exists():
        try:
            with unpacked(path) as packed, atomic_write(entry) as out:
                shutil.copyfileobj(packed, out)
        except OSError as error:
            raise UserError(f"{path} cannot be unpacked to {entry.parent} ({error})") from None
    return entry
