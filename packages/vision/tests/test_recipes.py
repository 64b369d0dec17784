import csv
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import headway.vision
from headway.core.cli.main import main
from headway.core.weights import save_pretrained
from headway.vision.models import SegFormer

QUICK = ["--trainer.max_steps", "2", "--model.schedule", "null", "--trainer.accelerator", "cpu"]
RECIPES = sorted(
    path.stem for path in (Path(headway.vision.__file__).parent / "recipes").glob("*.yaml")
)


@pytest.fixture(autouse=True)
def folder_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path / "runs"))


def fashion(folder: Path) -> Path:
    folder.mkdir()
    random = np.random.default_rng(0)
    for prefix, count in (("train", 60), ("t10k", 20)):
        images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for name, values in (("images-idx3", images), ("labels-idx1", labels)):
            head = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
            (folder / f"{prefix}-{name}-ubyte").write_bytes(head + values.tobytes())
    return folder


DETECTION = (
    "d_fine_bccd",
    "deformable_detr_bccd",
    "detr_bccd",
    "finetune_detection",
    "lw_detr_bccd",
    "rf_detr_bccd",
    "rt_detr_bccd",
    "vidt_bccd",
)


SEGMENTATION = (
    "finetune_segmentation",
    "mask2former_camvid",
    "pem_camvid",
    "segformer_camvid",
)


def camvid(root: Path) -> Path:
    random = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for name in (split, f"{split}annot"):
            (root / name).mkdir(parents=True)
        for number in range(8 if split == "train" else 2):
            ids = random.integers(0, 12, (45, 60), dtype=np.uint8)
            Image.fromarray(ids).save(root / f"{split}annot" / f"{number}.png")
            picture = random.integers(0, 256, (45, 60, 3), dtype=np.uint8)
            Image.fromarray(picture).save(root / split / f"{number}.jpg")
    return root


def options(recipe: str, tmp_path: Path, make_folder: Callable[..., Path]) -> list[str]:
    ten = " ".join("abcdefghij")
    if recipe == "vit_fashion_mnist":
        return ["--data.path", str(fashion(tmp_path / "fashion")), "--data.val", "10"]
    if recipe.endswith("_cifar10"):
        make_folder("cifar/train", ten, 4)
        path = make_folder("cifar/test", ten, 2).parent
        return ["--data.path", str(path), "--data.val", "10", "--data.batch_size", "10"]
    if recipe == "finetune":
        assert main(["fit", "-c", "vision/vit_digits", *QUICK]) == 0
        source = tmp_path / "runs" / "vision" / "vit_digits" / "1"
        path = make_folder("pets", "cat dog fox", 5)
        words = ["--model.backbone.source", str(source), "--model.backbone.num_classes", "3"]
        return ["--data.path", str(path), *words]
    return []


@pytest.mark.parametrize(
    "recipe", [name for name in RECIPES if name not in DETECTION + SEGMENTATION]
)
def test_a_recipe_trains_and_its_run_predicts(
    recipe: str, tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    words = options(recipe, tmp_path, make_folder)
    assert main(["fit", "-c", f"vision/{recipe}", *QUICK, *words]) == 0
    run = tmp_path / "runs" / "vision" / recipe / "1"
    notes = json.loads((run / "model" / "preprocessing.json").read_text())
    assert len(notes["classes"]) == (3 if recipe == "finetune" else 10)
    assert (run / "pictures" / "val_confusion.png").is_file()
    if recipe != "finetune":  # it has no test split
        assert main(["test", "-m", str(run)]) == 0
        assert (run / "pictures" / "test_per_class.csv").is_file()
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 256, (30, 50, 3), dtype=np.uint8)
        Image.fromarray(noise).save(pictures / f"{number}.png")
    out = tmp_path / "p.csv"
    assert main(["predict", "-m", str(run), str(pictures), "-o", str(out), "--device", "cpu"]) == 0
    rows = list(csv.DictReader(out.open()))
    assert len(rows) == 3
    assert {row["prediction"] for row in rows} <= set(notes["classes"])
    assert main(["predict", "-m", str(run), str(pictures), "-o", str(out)]) == 2


def test_a_continued_run_equals_an_unbroken_one(tmp_path: Path, monkeypatch) -> None:
    recipe = ["fit", "-c", "vision/vit_digits", "--trainer.accelerator", "cpu"]
    mix = ["--model.mix", "headway.vision.tasks.Mixing", "--trainer.max_epochs", "2"]
    small = ["--model.backbone.depth", "1", "--model.schedule", "null", "--data.batch_size", "256"]
    assert main([*recipe, *mix, *small]) == 0
    runs = tmp_path / "runs" / "vision" / "vit_digits"
    # The second run stops after its first epoch, and goes on.
    assert main([*recipe, *mix, *small, "--trainer.max_epochs", "1"]) == 0
    assert main(["fit", "--resume", str(runs / "2"), "--trainer.max_epochs", "2"]) == 0
    weights = [
        torch.load(runs / n / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for n in ("1", "2")
    ]
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


@pytest.mark.parametrize("recipe", SEGMENTATION)
def test_a_recipe_gives_each_pixel_a_class(recipe: str, tmp_path: Path) -> None:
    words = ["--data.path", str(camvid(tmp_path / "camvid")), "--data.crop", "[40,56]"]
    if recipe == "finetune_segmentation":
        sizes = {"dims": (8, 16), "depths": (1, 1), "heads": (1, 2), "reductions": (2, 1)}
        save_pretrained(SegFormer(num_classes=3, dim=8, **sizes), tmp_path / "source")
        names = ["Sky", *map(str, range(10))]
        (tmp_path / "camvid" / "classes.txt").write_text("\n".join([*names, "Void"]))
        words += ["--model.backbone.source", str(tmp_path / "source"), "--data.ignore", "Void"]
        words += ["--model.class_weights", "balanced"]
    assert main(["fit", "-c", f"vision/{recipe}", *QUICK, *words, "--data.batch_size", "4"]) == 0
    run = tmp_path / "runs" / "vision" / recipe / "1"
    notes = json.loads((run / "model" / "preprocessing.json").read_text())
    assert len(notes["classes"]) == 11
    header = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train_loss", "val_miou", "val_iou_Sky"} <= set(header)
    assert main(["test", "-m", str(run)]) == 0
    for name in ("val_masks.png", "val_per_class.png", "test_per_class.png"):
        assert (run / "pictures" / name).is_file()
    rows = list(csv.DictReader((run / "pictures" / "test_per_class.csv").open()))
    assert [row["class"] for row in rows] == notes["classes"]
    out = tmp_path / "masks"
    assert main(["segment", "-m", str(run), str(tmp_path / "camvid" / "test"), "-o", str(out)]) == 0
    assert len(list((out / "masks").iterdir())) == 2
