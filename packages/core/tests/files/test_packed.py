"""Packed files are read as plain ones, within bounds; damaged ones are one line."""

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from headway.core import packed
from headway.core.errors import InputError
from headway.core.kinds import fits
from headway.core.reading import read_lines
from headway.core.testing.damage import damaged_bytes, refusals

TEXT = b"".join(b"line %d\n" % number for number in range(300))


def tarred(content: bytes, mode: str = "w") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:  # pyright: ignore[reportCallIssue, reportArgumentType]
        info = tarfile.TarInfo("a.csv")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def zipped(content: bytes, number: int = 1) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for place in range(number):
            archive.writestr(f"{place}.csv", content)
    return made.getvalue()


def zstd(content: bytes) -> bytes:
    pyarrow = pytest.importorskip("pyarrow")
    return pyarrow.compress(content, codec="zstd", asbytes=True)


KINDS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd,
    "zip": zipped, "tar": tarred, "tar.gz": lambda content: tarred(content, "w:gz"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_packed_is_read_and_what_is_damaged_is_one_line(kind: str, tmp_path: Path) -> None:
    file, whole, drawn = tmp_path / "f", KINDS[kind](TEXT), random.Random(0)
    file.write_bytes(whole)
    assert "".join(f"{line}\n" for _, line in read_lines(file)).encode() == TEXT

    def use() -> None:
        file.write_bytes(damaged_bytes(whole, drawn))
        list(read_lines(file))

    assert len(refusals(use for _ in range(60))) > (0 if kind in ("plain", "tar") else 20)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("plain", "tar")])
def test_nothing_unpacks_without_end(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "f"
    file.write_bytes(KINDS[kind](b"1,2\n" * 2**19))
    monkeypatch.setattr(packed, "MAX_UNPACKED", 2**20)
    monkeypatch.setattr(packed, "MAX_RATIO", 2)
    with pytest.raises(InputError, match=r"unpacks to over 1,048,576 bytes \(2 times its size\)"):
        list(read_lines(file))


def test_an_archive_of_several_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.zip").write_bytes(zipped(TEXT, 2))
    with pytest.raises(InputError, match="holds 2 files"):
        list(read_lines(tmp_path / "f.zip"))


def test_kinds_of_values() -> None:
    assert fits([1, 2], tuple[int, ...])
    assert fits([1, 2.5], tuple[int, float])
    assert not fits([1, 2, 3], tuple[int, int])
    assert not fits([1, "a"], tuple[int, ...])
    assert fits(None, int | None)
    assert not fits(True, int)
    assert fits(3, float)
    assert not fits(float("inf"), float)
    assert not fits("8", int | tuple[int, int])
    assert fits("anything", Callable[[int], int])
