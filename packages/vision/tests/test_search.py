"""Tiles, mirrored pictures, suppression and thresholds of headway detect."""

import csv
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.ops import batched_nms, box_iou

from headway.core.cli.main import main
from headway.core.errors import UserError
from headway.vision.data import DetectionPreprocessing
from headway.vision.data.sources import Folder
from headway.vision.models.detections import to_corners
from headway.vision.suppression import suppress
from headway.vision.verbs.detect import Answer, detect
from headway.vision.verbs.inputs import Item
from headway.vision.verbs.search import Search, View, starts


def drawn(number: int = 60) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    start = torch.rand(number, 2, generator=generator) * 20
    extent = 5 + torch.rand(number, 2, generator=generator) * 40
    return {
        "scores": torch.rand(number, generator=generator),
        "labels": torch.randint(3, (number,), generator=generator),
        "boxes": torch.cat([start, start + extent], 1),
    }


@pytest.mark.parametrize("overlap", [0.2, 0.5])
def test_suppression_is_that_of_torchvision_within_each_class(overlap: float) -> None:
    found = drawn()
    kept = batched_nms(found["boxes"], found["scores"], found["labels"], overlap)
    assert len(kept) < 60
    answer = suppress(found, overlap=overlap)
    for name, value in answer.items():
        assert torch.equal(value, found[name][kept])
    # Classes do not suppress each other.
    found["labels"] = torch.arange(60)
    assert len(suppress(found, overlap=overlap)["scores"]) == 60


def test_soft_suppression_lowers_scores_by_what_is_shared() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 9, 10], [50, 50, 60, 60]])
    found = {
        "scores": torch.tensor([0.9, 0.8, 0.7, 0.1]),
        "labels": torch.zeros(4, dtype=torch.long),
        "boxes": boxes,
    }
    answer = suppress(found, soft=True)
    iou = box_iou(boxes, boxes)
    fall = [math.exp(-(iou[a, b].item() ** 2) / 0.5) for a, b in ((0, 1), (0, 2), (1, 2))]
    second, third = 0.8 * fall[0], 0.7 * fall[1]
    if third > second:
        second, third = third, second
    # The third falls once more, under the second; the last one lies apart.
    expected = sorted([0.9, second, third * fall[2], 0.1], reverse=True)
    assert answer["scores"].tolist() == pytest.approx(expected)


def test_views_have_parts_of_the_same_object() -> None:
    found = {
        "scores": torch.tensor([0.9, 0.8, 0.7]),
        "labels": torch.tensor([1, 1, 1]),
        "boxes": torch.tensor([[0.0, 0, 40, 40], [30, 0, 40, 40], [10, 10, 20, 20]]),
    }
    # A part in another view is no object; a small one within a large one of the same view is.
    answer = suppress(found, views=torch.tensor([0, 1, 0]))
    assert answer["scores"].tolist() == pytest.approx([0.9, 0.7])
    assert len(suppress(found)["scores"]) == 3
    # A part is no object even where it is surer than the whole.
    answer = suppress(found, views=torch.tensor([0, 1, 0]), cut=torch.tensor([True, False, False]))
    assert answer["scores"].tolist() == pytest.approx([0.8, 0.7])


@pytest.mark.parametrize(("length", "tile"), [(100, 100), (101, 100), (1000, 96), (50, 96)])
def test_tiles_cover_everything_and_overlap(length: int, tile: int) -> None:
    found = starts(length, tile, 0.25)
    assert found[0] == 0
    assert found[-1] + tile >= length
    assert found[-1] == max(0, length - tile)
    for a, b in itertools.pairwise(found):
        assert 0 < b - a <= tile * 0.75 + 1


def test_boxes_of_views_go_back_to_the_picture() -> None:
    view = View(Image.new("RGB", (40, 30)), 100, 200, mirrored=True)
    assert view.back(torch.tensor([[5.0, 6, 15, 16]])).tolist() == [[125, 206, 135, 216]]


class RedFinder:
    """Finds the one red thing of a picture that it sees 64 pixels wide; what is too small, it does not."""

    preprocessing = DetectionPreprocessing(shortest=48, longest=64, mean=(0.0,) * 3, std=(1.0,) * 3)

    def __init__(self) -> None:
        self.batches: list[int] = []

    def found(self, images: Tensor, sizes: Tensor, original: Tensor) -> list[dict[str, Tensor]]:
        self.batches.append(len(images))
        answers = []
        for image, (height, width), size in zip(images, sizes.tolist(), original, strict=True):
            places = (image[0, :height, :width] > 0.7).nonzero()
            boxes = torch.zeros(0, 4)
            if len(places):
                top, left = places.amin(0).tolist()
                bottom, right = (places.amax(0) + 1).tolist()
                sides = torch.tensor([[left + right, top + bottom, 0, 0]]) / 2
                sides[:, 2:] = torch.tensor([right - left, bottom - top])
                boxes = to_corners(sides / torch.tensor([width, height] * 2), size)
            answers.append(
                {
                    "scores": torch.full((len(boxes),), 0.9),
                    "labels": torch.zeros(len(boxes), dtype=torch.long),
                    "boxes": boxes,
                }
            )
        return answers


def looked_at(folder: Path, search: Search, finder: RedFinder) -> list[list[list[float]]]:
    source = Folder(folder)
    items = [Item(source, name, name) for name in source.names]
    answers = [answer for _, answer in detect(finder, items, batch_size=4, search=search)]  # pyright: ignore
    assert all(isinstance(answer, Answer) for answer in answers)
    return [answer.found["boxes"].tolist() for answer in answers if isinstance(answer, Answer)]


def test_tiles_find_what_is_too_small_in_the_whole_picture_and_find_it_once(tmp_path: Path) -> None:
    image = Image.new("RGB", (1280, 960))
    # The second is cut by the edges of tiles.
    places = [(100, 100), (126, 500), (1000, 700)]
    for left, top in places:
        image.paste((255, 0, 0), (left, top, left + 10, top + 10))
    image.save(tmp_path / "large.png")
    Image.new("RGB", (60, 50)).save(tmp_path / "small.png")
    finder = RedFinder()
    assert looked_at(tmp_path, Search(), finder) == [[], []]
    [found, none] = looked_at(tmp_path, Search(tile=160), finder)
    assert none == []
    assert max(finder.batches) <= 4
    for (left, top), box in zip(places, sorted(found), strict=True):
        assert box == pytest.approx([left, top, left + 10, top + 10], abs=3)


def test_mirrored_pictures_are_looked_at_too_and_answer_once(tmp_path: Path) -> None:
    image = Image.new("RGB", (64, 48))
    image.paste((255, 0, 0), (4, 8, 24, 28))
    image.save(tmp_path / "a.png")
    finder = RedFinder()
    assert looked_at(tmp_path, Search(mirror=True), finder) == [[[4, 8, 24, 28]]]
    assert finder.batches == [2]


def test_the_options_reach_the_answers(
    tiny_detr: Path, make_coco: Callable[..., Path], tmp_path: Path, capsys
) -> None:
    picture = make_coco(1) / "0.png"

    def rows(*words: str) -> list[dict[str, str]]:
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        command = ["detect", "-m", str(tiny_detr), str(picture), "-o", str(out)]
        assert main([*command, "--device", "cpu", *words]) == 0
        return list(csv.DictReader((out / "detections.csv").open()))

    every = rows("--threshold", "0")
    assert len(every) == 5
    label = every[0]["label"]
    least = next(float(row["score"]) for row in every if row["label"] == label)
    chosen = rows("--threshold", "0", "--class-threshold", f"{label}={least - 1e-5}")
    assert sum(row["label"] == label for row in chosen) == 1
    assert sum(row["label"] != label for row in chosen) == sum(
        row["label"] != label for row in every
    )
    # Random queries lie upon each other.
    assert len(rows("--threshold", "0", "--suppress", "0.1")) < 5
    assert 5 < len(rows("--threshold", "0", "--tile", "32", "--soft")) < 50

    def said(*words: str) -> str:
        command = ["detect", "-m", str(tiny_detr), str(picture), "-o", str(tmp_path / "x")]
        assert main([*command, *words]) == 2
        return capsys.readouterr().err

    assert "'rad' is no class of the model; did you mean 'red'?" in said(
        "--class-threshold", "rad=1"
    )
    assert "'x' is no number" in said("--class-threshold", "red=x")
    assert "--tile 8 is below 32" in said("--tile", "8")


@pytest.mark.parametrize(
    "values", [{"threshold": 2.0}, {"overlap": 1.0}, {"suppress": -1.0}, {"per_class": ((0, 2.0),)}]
)
def test_values_out_of_range_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="is outside"):
        Search(**values)
