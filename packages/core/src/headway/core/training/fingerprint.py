"""What the data of a run looked like, so that a run that is continued notices other data."""

import hashlib
import os
from pathlib import Path

# A larger file is known by its size, its ends and blocks in between.
WHOLE = 2**28
BLOCK = 2**16
BLOCKS = 256
# Files of a folder that are read too; pictures and recordings are known by name and size.
TABLES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".smi", ".xml", ".yaml")


def fingerprint(path: str | os.PathLike[str]) -> str | None:
    """Returns a number that changes when a file or a folder does; None where there is neither.

    Args:
        path: A file, or a folder with all that is below it. Times do not count, so that a copy is the same.
    """
    place = Path(path).expanduser()
    digest = hashlib.blake2b(digest_size=16)
    try:
        if place.is_file():
            _add(digest, place)
        elif place.is_dir():
            for file in sorted(file for file in place.rglob("*") if file.is_file()):
                digest.update(f"{file.relative_to(place)}\0{file.stat().st_size}\0".encode())
                if file.suffix.lower() in TABLES:
                    _add(digest, file)
        else:
            return None
    except OSError:
        return None
    return digest.hexdigest()


def _add(digest: hashlib.blake2b, file: Path) -> None:
    size = file.stat().st_size
    digest.update(str(size).encode())
    with open(file, "rb") as reader:
        if size <= WHOLE:
            while part := reader.read(2**20):
                digest.update(part)
            return
        for number in range(BLOCKS + 1):
            reader.seek((size - BLOCK) * number // BLOCKS)
            digest.update(reader.read(BLOCK))
