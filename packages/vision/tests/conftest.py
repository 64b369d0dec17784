import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_CACHE", str(tmp_path / "cache"))


def picture(seed: int, size: tuple[int, int] = (12, 10), mode: str = "RGB") -> Image.Image:
    random = np.random.default_rng(seed)
    channels = {"L": (), "RGB": (3,), "RGBA": (4,), "CMYK": (4,)}[mode]
    values = random.integers(0, 256, (*size, *channels), dtype=np.uint8)
    return Image.fromarray(values, mode=None if mode != "CMYK" else mode)


def jpeg(seed: int) -> bytes:
    buffer = io.BytesIO()
    picture(seed, (40, 40)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def make_folder(tmp_path: Path) -> Make:
    """Makes ``tmp_path/name/<class>/<n>.jpg``."""

    def make(name: str = "data", classes: str = "cat dog fox", count: int = 10) -> Path:
        seed = 0
        for label in classes.split():
            folder = tmp_path / name / label
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                (folder / f"{number:02}.jpg").write_bytes(jpeg(seed))
                seed += 1
        return tmp_path / name

    return make


def pack(folder: Path, archive: Path, inside: str = "") -> Path:
    with tarfile.open(archive, "w:gz" if archive.suffix in (".gz", ".tgz") else "w") as tar:
        tar.add(folder, arcname=inside or ".")
    return archive
