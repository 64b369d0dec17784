"""Objects keep their numbers from picture to picture."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from headway.core.cli.main import main
from headway.core.errors import UserError
from headway.vision.tracking import Tracker


def seen(*objects: tuple[int, float, float]) -> dict[str, torch.Tensor]:
    """Objects of 20 pixels: label, left, top."""
    boxes = [[left, top, left + 20, top + 20] for _, left, top in objects]
    return {
        "labels": torch.tensor([label for label, _, _ in objects], dtype=torch.long),
        "boxes": torch.tensor(boxes).view(-1, 4),
    }


def test_objects_that_pass_each_other_keep_their_numbers() -> None:
    tracker = Tracker()
    for frame in range(12):
        right, left = 10.0 + 8 * frame, 98.0 - 8 * frame
        numbers = tracker.follow(seen((0, right, 0.0), (0, left, 6.0))).tolist()
        assert numbers == [1, 2], frame


def test_fast_objects_are_where_their_motion_leads() -> None:
    tracker = Tracker()
    steps = [0.0, 10.0, 28.0, 54.0, 88.0, 130.0]  # the last steps are longer than the object
    assert [tracker.follow(seen((0, left, 0.0))).tolist() for left in steps] == [[1]] * 6


def test_what_is_missing_for_a_while_is_the_same_and_later_it_is_another() -> None:
    tracker = Tracker(patience=2)
    assert tracker.follow(seen((0, 0.0, 0.0), (0, 100.0, 0.0))).tolist() == [1, 2]
    assert tracker.follow(seen((0, 5.0, 0.0), (0, 100.0, 0.0))).tolist() == [1, 2]
    for _ in range(2):
        assert tracker.follow(seen((0, 100.0, 0.0))).tolist() == [2]
    assert tracker.follow(seen((0, 20.0, 0.0), (0, 100.0, 0.0))).tolist() == [1, 2]
    for _ in range(3):
        assert tracker.follow(seen()).tolist() == []
    assert tracker.follow(seen((0, 100.0, 0.0))).tolist() == [3]


def test_classes_do_not_take_each_others_numbers() -> None:
    tracker = Tracker()
    assert tracker.follow(seen((0, 0.0, 0.0))).tolist() == [1]
    assert tracker.follow(seen((1, 0.0, 0.0), (0, 1.0, 0.0))).tolist() == [2, 1]


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(UserError, match="overlap 0"):
        Tracker(overlap=0)
    with pytest.raises(UserError, match="patience -1"):
        Tracker(patience=-1)


def test_frames_are_followed_in_the_order_of_their_numbers(
    tiny_detr: Path, make_coco: Callable[..., Path], tmp_path: Path
) -> None:
    frame = Image.open(make_coco(1) / "0.png")
    for folder in ("one", "two"):
        (tmp_path / "frames" / folder).mkdir(parents=True)
        for number in (2, 9, 10):
            frame.save(tmp_path / "frames" / folder / f"f{number}.png")
    out = tmp_path / "out"
    words = ["detect", "-m", str(tiny_detr), str(tmp_path / "frames"), "-o", str(out)]
    assert main([*words, "--threshold", "0", "--track", "--device", "cpu"]) == 0
    rows = list(csv.DictReader((out / "detections.csv").open()))
    names = list(dict.fromkeys(Path(row["file"]).name for row in rows))
    assert names == ["f2.png", "f9.png", "f10.png"]
    # The same picture again and again: every object is followed; each folder begins anew.
    numbers = [row["track"] for row in rows]
    assert numbers == [str(number) for number in range(1, 6)] * 6
    found = json.loads((out / "detections.json").read_text())
    assert [entry["track_id"] for entry in found["annotations"]] == [int(one) for one in numbers]
