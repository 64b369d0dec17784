"""Files that are made once from the user's data and may be deleted at any time."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_entry(name: str, folder: str | Path | None = None) -> Path:
    """Returns the path of a cached file; its folder exists.

    Args:
        name: Name of the file.
        folder: Where to put it; None is ``$HEADWAY_CACHE``, else ``headway`` in ``$XDG_CACHE_HOME`` or
            in ``~/.cache``.
    """
    if folder is None:
        folder = os.environ.get("HEADWAY_CACHE") or (
            Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "headway"
        )
    folder = Path(folder).expanduser() / "vision"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def fingerprint(*paths: Path, **options: object) -> str:
    """Returns a short key that changes when a file (by path, size and time) or an option does."""
    parts = [f"{key}={value}" for key, value in sorted(options.items())]
    for path in paths:
        stat = path.stat()
        parts.append(f"{path.resolve()}:{stat.st_size}:{stat.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside ``path`` and moves it there if the block ends well.

    A kill at any moment leaves the old file or the new one, never half of one.
    """
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        yield Path(partial)
        # mkstemp makes files that only their owner may read.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(partial, 0o666 & ~umask)
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)
