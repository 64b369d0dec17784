import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headway.core.weights import save_pretrained
from headway.vision.layers import ResNet
from headway.vision.models import DETR

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


def scene(seed: int, width: int = 64, height: int = 48) -> tuple[Image.Image, list[tuple]]:
    """A picture with a red and a blue rectangle, and where they are: (class, left, top, right, bottom)."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 60, (height, width, 3), dtype=np.uint8)
    objects = []
    for channel, label in ((0, "red"), (2, "blue")):
        left, top = random.integers(0, width - 24), random.integers(0, height - 20)
        right, bottom = left + random.integers(12, 24), top + random.integers(10, 20)
        pixels[top:bottom, left:right, channel] = 255
        objects.append((label, int(left), int(top), int(right), int(bottom)))
    return Image.fromarray(pixels), objects


def voc_xml(name: str, objects: list[tuple], width: int = 64, height: int = 48) -> str:
    boxes = "".join(
        f"<object><name>{label}</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin>"
        f"<xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
        for label, left, top, right, bottom in objects
    )
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>{name}.jpg</filename>{size}{boxes}</annotation>"


@pytest.fixture
def make_voc(tmp_path: Path) -> Make:
    """Makes ``tmp_path/name`` in Pascal VOC's format; every third picture stands upright."""

    def make(name: str = "voc", count: int = 6) -> Path:
        root = tmp_path / name
        for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (root / folder).mkdir(parents=True)
        names = [f"{number:03}" for number in range(count)]
        for number, stem in enumerate(names):
            size = (48, 64) if number % 3 == 2 else (64, 48)
            image, objects = scene(number, *size)
            image.save(root / "JPEGImages" / f"{stem}.jpg", quality=95)
            (root / "Annotations" / f"{stem}.xml").write_text(voc_xml(stem, objects, *size))
        for split, part in (("train", names), ("val", names[:3]), ("test", names[-2:])):
            (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(part))
        return root

    return make


@pytest.fixture
def tiny_detr(tmp_path: Path) -> Path:
    """A folder with a small DETR of random weights that answers for red and blue."""
    torch.manual_seed(0)
    model = DETR(
        num_classes=2,
        backbone=ResNet(depths=[1, 1], widths=[8, 12], bottleneck=False, stem=8),
        dim=16,
        heads=2,
        queries=5,
        encoder_depth=1,
        decoder_depth=2,
    )
    save_pretrained(model, tmp_path / "tiny_detr")
    notes = {
        "task": "detection", "classes": ["red", "blue"], "category_ids": [7, 90], "shortest": 32,
        "longest": 48, "mean": [0.5] * 3, "std": [0.5] * 3,
    }  # fmt: skip
    (tmp_path / "tiny_detr" / "preprocessing.json").write_text(json.dumps(notes))
    return tmp_path / "tiny_detr"


@pytest.fixture
def make_coco(tmp_path: Path) -> Make:
    """Makes ``tmp_path/coco`` in COCO's format; ids of classes have gaps."""

    def make(count: int = 4) -> Path:
        root = tmp_path / "coco"
        root.mkdir()
        ids = {"red": 7, "blue": 90}
        images, annotations = [], []
        for number in range(count):
            image, objects = scene(number)
            image.save(root / f"{number}.png")
            images.append(
                {"id": 100 + number, "file_name": f"{number}.png", "height": 48, "width": 64}
            )
            for label, left, top, right, bottom in objects:
                annotations.append(
                    {
                        "id": len(annotations),
                        "image_id": 100 + number,
                        "category_id": ids[label],
                        "bbox": [left, top, right - left, bottom - top],
                        "area": (right - left) * (bottom - top),
                        "iscrowd": 0,
                    }
                )
        categories = [{"id": number, "name": name} for name, number in ids.items()]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "boxes.json").write_text(json.dumps(content))
        return root

    return make
