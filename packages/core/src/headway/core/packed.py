"""Files that unpack on the way, bounded: gzip, bzip2, xz, zstd, zip and tar, told by their first bytes."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, cast

from headway.core.errors import InputError, UserError, one_line

MAX_RATIO, MAX_UNPACKED = 200, 2**30
"""A file may unpack to this many times its size, or to this many bytes."""

_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
_TAR = (257, b"ustar")


class _Bounded(io.RawIOBase):
    """Reads on until more has come out than a file of this size may hold.

    Args:
        data: What unpacks.
        path: The file.
    """

    def __init__(self, data: IO[bytes], path: Path) -> None:
        super().__init__()
        self._data, self._path = data, path
        self._limit = max(MAX_RATIO * path.stat().st_size, MAX_UNPACKED)
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _naming(self._path):
            piece = self._data.read(min(len(buffer), 1 << 20))
        self._read += len(piece)
        if self._read > self._limit:
            raise InputError(
                str(self._path),
                f"unpacks to over {self._limit:,} bytes ({MAX_RATIO} times its size); "
                "unpack it yourself if you trust it",
            )
        buffer[: len(piece)] = piece
        return len(piece)


@contextmanager
def unpacked(path: Path) -> Iterator[io.BufferedReader]:
    """Opens a file, unpacked if it is packed; a zip archive must hold one file.

    Args:
        path: A plain file.

    Raises:
        InputError: While it is read, if it is damaged, or unpacks to over ``MAX_RATIO`` times its size and
            ``MAX_UNPACKED`` bytes.
    """
    with ExitStack() as stack:
        file = stack.enter_context(open(path, "rb"))
        start = file.read(8)
        file.seek(0)
        kind = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)
        if kind is None:
            yield file
            return
        with _naming(path):
            inner = _unpacking(kind, file, path, stack)
        yield stack.enter_context(_bounded(inner, path))


@contextmanager
def open_packed(path: Path) -> Iterator[io.BufferedReader]:
    """Opens a file as ``unpacked`` does; of a tar archive, packed or not, the first file in it.

    Args:
        path: A plain file.

    Raises:
        InputError: As ``unpacked`` does.
    """
    with unpacked(path) as data, ExitStack() as stack:
        if not data.peek(_TAR[0] + 8)[_TAR[0] :].startswith(_TAR[1]):
            yield data
            return
        with _naming(path):
            inner = _first_file(data, stack)
        yield stack.enter_context(_bounded(inner, path))


def _unpacking(kind: str, file: IO[bytes], path: Path, stack: ExitStack) -> IO[bytes]:
    if kind == "gzip":
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    if kind == "bzip2":
        return bz2.BZ2File(file)
    if kind == "xz":
        return lzma.LZMAFile(file)
    if kind == "zip":
        archive = stack.enter_context(zipfile.ZipFile(file))
        inside = [info for info in archive.infolist() if not info.is_dir()]
        if len(inside) != 1:
            raise InputError(str(path), f"holds {len(inside)} files; an archive has one")
        return stack.enter_context(archive.open(inside[0]))
    try:
        import pyarrow
    except ImportError:
        raise InputError(str(path), "needs pyarrow to be unpacked; unpack it") from None
    return stack.enter_context(pyarrow.input_stream(file, compression="zstd"))


def _first_file(data: io.BufferedReader, stack: ExitStack) -> IO[bytes]:
    # A stream is read once and forwards, so files behind the first one are not seen.
    archive = stack.enter_context(tarfile.open(fileobj=data, mode="r|"))  # noqa: SIM115
    for member in archive:
        if member.isfile() and not member.issparse():
            return cast(IO[bytes], archive.extractfile(member))
    raise tarfile.TarError("no file in it")


def _bounded(data: IO[bytes], path: Path) -> io.BufferedReader:
    return io.BufferedReader(_Bounded(data, path), 1 << 16)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        # zlib, lzma, zipfile, tarfile and pyarrow have errors of their own for damaged files.
        reason = one_line(error) or type(error).__name__
        raise InputError(str(path), f"cannot be unpacked ({reason})") from None
