"""Files that are whole or absent: a kill or a full disk at any moment leaves the previous version."""

import csv
import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from headway.core.errors import UserError


class DiskFullError(OSError):
    """A file did not fit; the message names it, what is free and what to do."""

    def __init__(self, path: Path, needed: int | None = None) -> None:
        self.path = path
        size = f" of at least {_mib(needed)}" if needed else ""
        free = ""
        with suppress(OSError):
            free = f" ({_mib(shutil.disk_usage(path.parent).free)} free)"
        super().__init__(
            errno.ENOSPC,
            f"the disk is full: {path}{size} was not written{free}, its previous version is untouched; "
            "make room, or set another folder, then continue",
        )

    def __str__(self) -> str:
        return str(self.args[1])


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, says that a disk or a quota is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        # Libraries that write by themselves (safetensors) keep only the words.
        if "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


class _Watched:
    """A file that remembers the first error of a write, which serialisers tend to replace."""

    def __init__(self, file: IO[Any]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Opens a file that takes the place of ``path`` only once it is complete and on the disk.

    Args:
        path: The file; its folder is made if need be.
        mode: ``"wb"`` or ``"w"`` (UTF-8).

    Raises:
        UserError: If there can be no such file.
        DiskFullError: If there is no room; ``path`` is as it was.
    """
    path = Path(path)
    watched: _Watched | None = None
    with _writing(path):
        # The process id keeps two processes apart; the same folder, since a rename cannot cross disks.
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Names of files need not be UTF-8; they are written as the system has them.
        text: dict[str, Any] = (
            {} if "b" in mode else {"encoding": "utf-8", "errors": "surrogateescape"}
        )
        opened: IO[Any] = open(part, mode, **text)  # noqa: SIM115
    try:
        with opened as file:
            watched = _Watched(file)
            yield watched  # pyright: ignore[reportReturnType]
            file.flush()
            os.fsync(file.fileno())
        with _writing(path):
            os.replace(part, path)
    except BaseException as error:
        written = part.stat().st_size if part.exists() else None
        part.unlink(missing_ok=True)
        if is_disk_full(error) or (watched is not None and is_disk_full(watched.error)):
            raise DiskFullError(path, needed=written) from error
        raise
    _sync_folder(path.parent)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Names the file in what the system says of its place; a full disk is said elsewhere."""
    try:
        yield
    except (OSError, ValueError) as error:
        if is_disk_full(error):
            raise
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path} cannot be written ({reason}); choose another place") from error


@contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """Gives an empty folder; its files move to ``folder`` when the block ends well, each one whole.

    Other files in ``folder`` stay. After an error nothing of the block is left.

    Args:
        folder: Where the files go; made if need be.

    Raises:
        UserError: If there can be no such folder.
        DiskFullError: If there is no room.
    """
    made = not folder.exists()
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        # Inside, since the folder may be a disk of its own, and a rename cannot cross disks.
        part = Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=folder))
    try:
        yield part
        for source in sorted(path for path in part.rglob("*") if path.is_file()):
            target = folder / source.relative_to(part)
            with _writing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(source, target)
    except Exception as error:
        if is_disk_full(error) and not isinstance(error, DiskFullError):
            raise DiskFullError(folder) from error
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if made:
            with suppress(OSError):  # not empty: all is well
                folder.rmdir()


def remove_leftovers(folder: Path) -> None:
    """Removes what a kill left of writes under a folder: hidden files and folders that end in ``.part``.

    Those of a process that still runs stay.
    """
    for path in sorted(folder.rglob(".*.part")):
        owner = path.name.split(".")[-2]
        if owner.isdecimal() and _runs(int(owner)):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def _runs(process: int) -> bool:
    # Signal 0 asks for the process and sends nothing.
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def replace_with_link(source: Path, target: Path) -> None:
    """Makes ``target`` the same file as ``source``, atomically and without a copy where links work."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    try:
        os.link(source, part)
    except OSError:
        with open(source, "rb") as reader, atomic_write(target) as writer:
            shutil.copyfileobj(reader, writer)
        return
    os.replace(part, target)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    # The rename itself reaches the disk with its folder. Some file systems refuse to open one.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def save_figure(figure: Any, path: Path) -> None:
    """Writes a figure of matplotlib as PNG, whole or not at all."""
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=120)


def write_csv(file: IO[str], columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes rows as CSV; what a row lacks stays empty."""
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
