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


def noise(seed: int, height: int = 40, width: int = 40) -> Image.Image:
    random = np.random.default_rng(seed)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


def jpeg(seed: int) -> bytes:
    buffer = io.BytesIO()
    noise(seed).save(buffer, "JPEG")
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


@pytest.fixture
def pack() -> Callable[..., Path]:
    """Packs a folder into an archive."""

    def run(folder: Path, archive: Path, inside: str = ".") -> Path:
        with tarfile.open(archive, "w" if archive.suffix == ".tar" else "w:gz") as tar:
            tar.add(folder, arcname=inside)
        return archive

    return run


@pytest.fixture
def truncate() -> Callable[[Path], Path]:
    """Cuts a file in the middle."""

    def run(path: Path) -> Path:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        return path

    return run
