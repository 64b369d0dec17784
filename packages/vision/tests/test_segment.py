"""What headway segment writes, for models and their graphs, and pictures of any size."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from headway.core.cli.main import main
from headway.core.weights import save_pretrained
from headway.vision.data.mask_classes import MaskClasses
from headway.vision.data.mask_preprocessing import SegmentationPreprocessing
from headway.vision.models import SegFormer
from headway.vision.models.segmenter import Segmenter
from headway.vision.verbs.canvas import Canvas
from headway.vision.verbs.segmenting import LoadedSegmenter, Looking, segmented

NAMES, IDS = ["road", "car", "sky"], [7, 9, 40]


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with a small SegFormer of random weights."""
    torch.manual_seed(0)
    sizes = {"dims": (8, 16), "depths": (1, 1), "heads": (1, 2), "reductions": (2, 1)}
    segformer = SegFormer(num_classes=3, dim=8, **sizes)
    with torch.no_grad():
        segformer.classifier.weight.mul_(10)
    save_pretrained(segformer, tmp_path / "model")
    notes = {"classes": NAMES, "category_ids": IDS, "ignore": [255, 0]}
    (tmp_path / "model" / "preprocessing.json").write_text(json.dumps(notes))
    return tmp_path / "model"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "inside").mkdir(parents=True)
    for place, (name, size) in enumerate(
        {"a.png": (64, 48), "b.jpg": (70, 90), "inside/a.png": (64, 48), "tiny.png": (5, 4)}.items()
    ):
        noise(*size, place).save(folder / name)
    return folder


def segment(model: Path, pictures: Path, out: Path, *words: object) -> int:
    return main(
        ["segment", "-m", str(model), str(pictures), "-o", str(out), "--device", "cpu"]
        + [str(word) for word in words]
    )


def test_masks_of_the_users_ids_are_written_beside_shares_and_pictures(
    model: Path, pictures: Path, tmp_path: Path, capsys
) -> None:
    (pictures / "broken.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    assert segment(model, pictures, out) == 2
    assert "remove it or use --on-invalid skip or keep" in capsys.readouterr().err
    assert not out.exists()
    assert segment(model, pictures, out, "--on-invalid", "keep", "--batch-size", 3) == 0
    assert "4 pictures segmented" in capsys.readouterr().err
    rows = list(csv.DictReader((out / "segments.csv").open()))
    assert sum(bool(row["error"]) for row in rows) == 1
    for name in ("a.png", "b.jpg", "inside/a.png", "tiny.png"):
        mine = [row for row in rows if row["file"].endswith(f"pictures/{name}")]
        assert sum(float(row["share"]) for row in mine) == pytest.approx(1, abs=1e-5)
        with Image.open(pictures / name) as picture, Image.open(out / mine[0]["mask"]) as mask:
            assert mask.size == picture.size
            assert mask.mode == "P"
            ids, counts = np.unique(np.asarray(mask), return_counts=True)
        found = {int(row["id"]): int(row["pixels"]) for row in mine}
        assert found == dict(zip(ids.tolist(), counts.tolist(), strict=True))
        assert all(row["class"] == NAMES[IDS.index(int(row["id"]))] for row in mine)
        with Image.open(out / mine[0]["picture"]) as drawn:
            assert drawn.width >= 320
    said = json.loads((out / "segments.json").read_text())
    assert [one["name"] for one in said["categories"]] == NAMES
    assert len(said["annotations"]) == len(said["images"]) == 4
    for image, one in zip(said["images"], said["annotations"], strict=True):
        assert (
            sum(part["area"] for part in one["segments_info"]) == image["width"] * image["height"]
        )
    # What stands there stays.
    assert segment(model, pictures, out) == 2
    assert "exists; choose another place" in capsys.readouterr().err


def test_a_batch_of_several_sizes_answers_as_each_picture_alone(
    model: Path, pictures: Path, tmp_path: Path
) -> None:
    assert segment(model, pictures, tmp_path / "together", "--batch-size", 4) == 0
    assert segment(model, pictures, tmp_path / "alone", "--batch-size", 1) == 0
    for one in (tmp_path / "together" / "masks").rglob("*.png"):
        other = tmp_path / "alone" / one.relative_to(tmp_path / "together")
        assert (np.asarray(Image.open(one)) == np.asarray(Image.open(other))).all()


def test_the_graph_gives_the_same_masks(
    model: Path, pictures: Path, tmp_path: Path, capsys
) -> None:
    # A graph of any size takes pictures from 64 pixels on, its model smaller ones, too.
    (pictures / "tiny.png").unlink()
    for path in (pictures / "a.png", pictures / "inside/a.png"):
        noise(96, 72).save(path)
    file = tmp_path / "out" / "model.onnx"
    assert main(["export", "-m", str(model), "-o", str(file)]) == 0
    assert "images (batch, 3, height, width) -> scores" in capsys.readouterr().out
    for source, out in ((model, "mine"), (file, "graph")):
        assert segment(source, pictures, tmp_path / out) == 0
    masks = sorted((tmp_path / "mine" / "masks").rglob("*.png"))
    assert len(masks) == 3
    for one in masks:
        mine = np.asarray(Image.open(one))
        theirs = np.asarray(Image.open(tmp_path / "graph" / one.relative_to(tmp_path / "mine")))
        assert (mine == theirs).mean() > 0.999
    tables = [(tmp_path / out / "segments.json").read_text() for out in ("mine", "graph")]
    mine, theirs = (json.loads(text) for text in tables)
    assert mine["categories"] == theirs["categories"]
    # What it does not answer is said.
    assert main(["predict", "-m", str(file), str(pictures)]) == 2
    assert "a graph for segmentation, which has no class for a whole" in capsys.readouterr().err


def test_a_program_of_one_size_is_written(model: Path, tmp_path: Path, capsys) -> None:
    file = tmp_path / "model.pt2"
    assert main(["export", "-m", str(model), "-o", str(file), "--size", "48", "64"]) == 0
    assert "images (batch, 3, 48, 64) -> scores" in capsys.readouterr().out


def test_other_verbs_say_where_to_go(model: Path, pictures: Path, tmp_path: Path, capsys) -> None:
    for verb in ("predict", "detect", "explain"):
        words = [verb, "-m", str(model), str(pictures), "-o", str(tmp_path / verb)]
        assert main(words) == 2
        assert "headway segment" in capsys.readouterr().err
    for option, message in (
        (("--tile", 4), "--tile 4 is below 32 pixels"),
        (("--opacity", 2), r"--opacity 2 is outside [0, 1]"),
        (("--batch-size", 0), "--batch-size 0 is below 1"),
    ):
        # Before anything is loaded.
        assert segment(tmp_path / "nothing", pictures, tmp_path / "x", *option) == 2
        assert message in capsys.readouterr().err


class OfAPixel(Segmenter):
    """Classes by the colour of a pixel alone."""

    least = 1

    def __init__(self) -> None:
        super().__init__(num_classes=3, name="of a pixel")

    def semantic(self, images: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        return nn.functional.interpolate(images, size or images.shape[2:]).softmax(1)


class OfTheLeft(OfAPixel):
    """Classes by how far left a pixel lies in what is looked at."""

    def semantic(self, images: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        height, width = size or images.shape[2:]
        first = torch.linspace(1, 0, width).expand(len(images), 1, height, width)
        return torch.cat([first, 1 - first, torch.zeros_like(first)], 1)


def ready(model: Segmenter) -> LoadedSegmenter:
    return LoadedSegmenter(
        model=model,
        preprocessing=SegmentationPreprocessing(),
        classes=MaskClasses(names=tuple(NAMES)),
        device=torch.device("cpu"),
    )


@pytest.mark.parametrize("looking", [{"tile": 32}, {"tile": 40, "overlap": 0.5}, {"mirror": True}])
def test_tiles_and_mirrors_lie_where_they_belong(looking: dict[str, float]) -> None:
    images = [noise(101, 67), noise(30, 150, 1)]
    whole = segmented(ready(OfAPixel()), images, Looking())
    for one, other in zip(
        whole, segmented(ready(OfAPixel()), images, Looking(**looking)), strict=True
    ):
        assert (one.labels == other.labels).all()
        torch.testing.assert_close(one.scores, other.scores)


def test_what_is_said_of_a_side_is_averaged_with_the_mirrored_picture() -> None:
    [found] = segmented(ready(OfTheLeft()), [noise(64, 40)], Looking(mirror=True))
    torch.testing.assert_close(found.scores, torch.full((40, 64), 0.5))


def test_scores_of_overlapping_views_are_averaged_row_by_row() -> None:
    torch.manual_seed(0)
    total, views = torch.zeros(3, 9, 7), torch.zeros(9, 7)
    canvas = Canvas(3, 9, 7)
    for top in (0, 2, 5):
        for left in (0, 3):
            scores = torch.rand(3, 4, 4)
            canvas.add(scores, left, top)
            total[:, top : top + 4, left : left + 4] += scores
            views[top : top + 4, left : left + 4] += 1
    labels, scores = canvas.finished()
    best = (total / views).max(0)
    assert (labels == best.indices).all()
    torch.testing.assert_close(scores, best.values)


def test_large_pictures_with_many_classes_are_answered_coarsely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("headway.vision.verbs.segmenting.MOST_SCORES", 3 * 20 * 30)
    [found] = segmented(ready(OfAPixel()), [noise(60, 40)], Looking())
    [fine] = segmented(ready(OfAPixel()), [noise(30, 20)], Looking())
    assert found.labels.shape == (40, 60)
    assert fine.labels.shape == (20, 30)


def test_ids_above_255_make_masks_of_16_bits() -> None:
    classes = MaskClasses(names=("a", "b"), ids=(3, 1000))
    mask = classes.mask(np.array([[0, 1], [-1, 1]]))
    assert np.asarray(mask).tolist() == [[3, 1000], [255, 1000]]


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        ({"classes": ["road"]}, "answers for 3 classes, but preprocessing.json names 1"),
        ({"category_ids": [1, 1, 2]}, "must differ"),
        ({"ignore": [1]}, "it can be one of both"),
        ({"height": 32}, "name both or neither"),
        ({"colours": [[1, 2]]}, "colours"),
    ],
)
def test_notes_that_do_not_fit_are_one_line(
    model: Path, pictures: Path, tmp_path: Path, notes: dict[str, object], message: str, capsys
) -> None:
    (model / "preprocessing.json").write_text(json.dumps(notes))
    assert segment(model, pictures, tmp_path / "out") == 2
    assert message in capsys.readouterr().err
