"""Files that are made once from the user's data and may be deleted at any time."""

import hashlib
import os
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
