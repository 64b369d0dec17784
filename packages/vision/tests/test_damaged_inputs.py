"""Damaged pictures, annotations, notes and published folders are one line each."""

import io
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image

from headway.core.embeddings import PatchEmbedding
from headway.core.testing.damage import damaged, damaged_json, refusals
from headway.core.weights import from_pretrained
from headway.vision.data import COCODetection, DetectionFolder, ImageFolder, VOCDetection
from headway.vision.models import ViT
from headway.vision.verbs.loading import as_classifier

Make = Callable[..., Path]
SIZES: dict[str, Any] = {"shortest": 24, "longest": 32}
TIMES = 40


def damaged_folder(files: list[Path], use: Callable[[Any], object]) -> list[str]:
    drawn = random.Random(0)

    def once() -> None:
        file = drawn.choice(files)
        whole = file.read_bytes()
        try:
            file.write_bytes(damaged(whole, drawn))
            use(drawn.choice(["raise", "skip"]))
        finally:
            file.write_bytes(whole)

    return refusals(once for _ in range(TIMES))


def take(data: Any) -> None:
    data.setup()
    for part in (data.train_set, data.val_set):
        _ = part[0]


def test_damaged_coco(make_coco: Make) -> None:
    root = make_coco()
    file = str(root / "boxes.json")
    files = [root / "boxes.json"] * 3 + [root / "0.png"]
    said = damaged_folder(
        files, lambda policy: take(COCODetection(train=file, val=file, on_invalid=policy, **SIZES))
    )
    assert len(said) > TIMES // 4


def test_damaged_voc(make_voc: Make) -> None:
    root = make_voc()
    files = [root / "Annotations/000.xml"] * 3 + [root / "ImageSets/Main/train.txt"]
    said = damaged_folder(
        files, lambda policy: take(VOCDetection(path=str(root), on_invalid=policy, **SIZES))
    )
    assert len(said) > TIMES // 6


def test_damaged_yolo(make_coco: Make, tmp_path: Path) -> None:
    root = tmp_path / "yolo"
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True)
    for number, file in enumerate(sorted(make_coco().glob("*.png"))):
        (root / "images" / file.name).write_bytes(file.read_bytes())
        (root / "labels" / f"{number}.txt").write_text("0 0.5 0.4 0.25 0.2\n1 0.3 0.3 0.1 0.125\n")
    (root / "data.yaml").write_text("train: images\nval: images\nnames: {0: red, 1: blue}\n")
    files = [root / "labels/0.txt"] * 2 + [root / "data.yaml"] * 2 + [root / "images/0.png"]
    said = damaged_folder(
        files, lambda policy: take(DetectionFolder(path=str(root), on_invalid=policy, **SIZES))
    )
    assert len(said) > TIMES // 6


def test_damaged_pictures(tmp_path: Path) -> None:
    files = []
    for label in ("a", "b"):
        for number, kind in enumerate(("png", "jpg", "bmp", "gif", "tif", "webp")):
            made = io.BytesIO()
            Image.effect_noise((16, 12), 90).save(
                made, {"jpg": "JPEG", "tif": "TIFF"}.get(kind, kind)
            )
            files.append(tmp_path / label / f"{number}.{kind}")
            files[-1].parent.mkdir(exist_ok=True)
            files[-1].write_bytes(made.getvalue())

    def use(policy: Any) -> None:
        data = ImageFolder(path=str(tmp_path), image_size=8, val=2, on_invalid=policy)
        data.setup()
        for part in (data.train_set, data.val_set):
            for place in range(len(part)):
                _ = part[place]

    assert len(damaged_folder(files, use)) > 3


def test_damaged_files_of_a_published_vit(tmp_path: Path) -> None:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "num_labels": 3}
    config = transformers.ViTConfig(**sizes, intermediate_size=8, image_size=16, patch_size=8)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    processor = transformers.ViTImageProcessor(size={"height": 16, "width": 16})
    processor.save_pretrained(tmp_path)
    files = [tmp_path / "config.json"] * 2 + [tmp_path / "preprocessor_config.json"]
    said = damaged_folder(files, lambda _: as_classifier(from_pretrained(tmp_path), {}, "cpu"))
    assert len(said) > TIMES // 3


def test_damaged_notes_of_a_classifier() -> None:
    drawn = random.Random(0)
    embedding = partial(PatchEmbedding, patch=4)
    model = ViT(embedding=embedding, image_size=8, dim=8, depth=1, heads=2, num_classes=2)
    notes = {
        "classes": ["a", "b"], "input_size": [3, 8, 8], "mean": [0.5, 0.5, 0.5], "std": [1, 1, 1],
        "interpolation": "bicubic", "crop_pct": 0.9, "crop_mode": "center", "bits": 8,
    }  # fmt: skip

    def use() -> None:
        classifier = as_classifier(model, damaged_json(notes, drawn), "cpu")
        classifier.probabilities(torch.zeros(1, 3, 8, 8))

    assert len(refusals(use for _ in range(200))) > 60
