"""Pictures with boxes: formats, checks, transforms, batches."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from headway.core.errors import UserError
from headway.vision.data import (
    BoxAugmentation,
    COCODetection,
    DetectionPreprocessing,
    VOCDetection,
)
from headway.vision.data.detection import as_shares
from headway.vision.models.detections import to_corners

Make = Callable[..., Path]
PLAIN = {"shortest": 48, "longest": 64, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def colour_inside(image: torch.Tensor, box: torch.Tensor, channel: int) -> float:
    """The mean of a channel inside a box given as shares."""
    size = torch.tensor(image.shape[1:])
    left, top, right, bottom = to_corners(box[None], size)[0].round().int().tolist()
    return image[channel, top:bottom, left:right].mean().item()


@pytest.mark.parametrize("kind", ["voc", "coco"])
def test_boxes_lie_on_their_objects(kind: str, make_voc: Make, make_coco: Make) -> None:
    if kind == "voc":
        data = VOCDetection(path=str(make_voc()), batch_size=3, **PLAIN)
    else:
        root = make_coco()
        data = COCODetection(train=str(root / "boxes.json"), val=str(root / "boxes.json"), **PLAIN)
    data.setup()
    assert sorted(data.classes) == ["blue", "red"]
    batch = next(iter(data.val_dataloader()))
    assert batch.images.shape[0] == len(batch.sizes) == len(batch.targets)
    for image, size, target in zip(batch.images, batch.sizes, batch.targets, strict=True):
        height, width = size.tolist()
        assert (image[:, height:] == 0).all()
        assert (image[:, :, width:] == 0).all()
        for box, label in zip(target.boxes, target.labels, strict=True):
            channel = 0 if data.classes[label] == "red" else 2
            assert colour_inside(image[:, :height, :width], box, channel) > 0.6
    notes = data.preprocessing()
    assert notes["task"] == "detection"
    assert notes["shortest"] == 48


def test_gapped_ids_become_labels_in_order_and_crowds_are_marked(make_coco: Make) -> None:
    root = make_coco()
    content = json.loads((root / "boxes.json").read_text())
    content["annotations"][0]["iscrowd"] = 1
    (root / "boxes.json").write_text(json.dumps(content))
    data = COCODetection(train=str(root / "boxes.json"), **PLAIN)
    assert data.classes == ("red", "blue")  # 7 before 90
    data.setup()
    first = data.train_set[0][1]
    assert first.labels.tolist() == [0, 1]
    assert first.crowd.tolist() == [True, False]
    assert int(first.number) == 100


def broken_voc(root: Path, old: str, new: str) -> Path:
    file = root / "Annotations" / "001.xml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    return file


WRONG = {
    "outside": ("<xmax>", "<xmax>9", r"001.xml, box 1: .* lies outside its picture of 64x48"),
    "no area": ("<ymax>", "<ymax>-", r"001.xml, box 1: .* has no area"),
    "no number": ("<xmin>", "<xmin>x", "001.xml: is not in Pascal VOC's format"),
    "no box": ("<bndbox>", "<box>", "001.xml: is not XML"),
    "another format": ("<annotation>", "<annotations>", "001.xml: is not XML"),
    "no name": ("<name>", "<names>", "001.xml: is not XML"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_one_line_and_can_be_left_out(
    kind: str, make_voc: Make, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_voc()
    old, new, message = WRONG[kind]
    broken_voc(root, old, new)
    with pytest.raises(UserError, match=message + ".*set on_invalid to skip"):
        VOCDetection(path=str(root), **PLAIN).setup()
    data = VOCDetection(path=str(root), on_invalid="skip", **PLAIN)
    data.setup()
    # The same picture stands in two splits.
    assert caplog.messages[-1].startswith("skipped 2 of ")
    whole = kind in ("outside", "no area")
    assert len(data.train_set) == (6 if whole else 5)
    if whole:
        assert len(data.train_set[1][1].labels) == 1


def test_missing_pictures_unknown_classes_and_other_sizes(make_voc: Make) -> None:
    root = make_voc()
    (root / "JPEGImages" / "002.jpg").unlink()
    with pytest.raises(UserError, match=r"002.jpg: there is no such picture"):
        VOCDetection(path=str(root), **PLAIN).setup()
    data = VOCDetection(path=str(root), on_invalid="skip", limit=2, **PLAIN)
    data.setup()
    assert len(data.train_set) == len(data.val_set) == 2
    broken_voc(root, "<name>red", "<name>green")
    (root / "ImageSets" / "Main" / "train.txt").write_text("000\n003\n")
    with pytest.raises(UserError, match="its class 'green' is none of blue, red"):
        VOCDetection(path=str(root), test=None, **PLAIN).setup()
    Image.new("RGB", (20, 20)).save(root / "JPEGImages" / "000.jpg")
    data = VOCDetection(path=str(root), val=None, test=None, **PLAIN)
    with pytest.raises(UserError, match="it is 20x20, but its annotation says 64x48"):
        data.setup()


def test_folders_and_files_that_are_not_in_the_format(make_voc: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder; path is one with Annotations"):
        VOCDetection(path=str(tmp_path / "nothing")).setup()
    with pytest.raises(UserError, match="no folder in Pascal VOC's format"):
        VOCDetection(path=str(tmp_path)).setup()
    with pytest.raises(UserError, match="has no split 'tests'; there are test, train, val"):
        VOCDetection(path=str(make_voc()), test="tests").setup()
    file = tmp_path / "x.json"
    with pytest.raises(UserError, match="no such annotation file"):
        COCODetection(train=str(file)).setup()
    file.write_text("{")
    with pytest.raises(UserError, match="is not JSON"):
        COCODetection(train=str(file)).setup()
    file.write_text('{"images": []}')
    with pytest.raises(UserError, match=r"not in COCO's format.*'annotations' is missing"):
        COCODetection(train=str(file)).setup()


def test_coco_boxes_are_checked_too(make_coco: Make) -> None:
    root = make_coco()
    content = json.loads((root / "boxes.json").read_text())
    content["annotations"][2]["bbox"] = [60, 0, 30, 10]
    content["annotations"][3]["category_id"] = 8
    content["annotations"].append({"image_id": 1, "category_id": 7, "bbox": [0, 0, 1, 1]})
    (root / "boxes.json").write_text(json.dumps(content))
    data = COCODetection(train=str(root / "boxes.json"), on_invalid="skip", **PLAIN)
    data.setup()
    reasons = [str(error) for error in data.invalid.errors]
    assert "boxes of image_id 1, which is no picture" in reasons[0]
    assert (
        "1.png, annotation 2: (60, 0, 90, 10) lies outside its picture of 64x48 pixels"
        in reasons[1]
    )
    assert "1.png, annotation 3: its class 'id 8' is none of red, blue" in reasons[2]
    assert len(data.train_set[1][1].labels) == 0


def test_flips_and_crops_move_boxes_with_their_objects() -> None:
    image = Image.new("RGB", (40, 30))
    image.paste((255, 0, 0), (4, 6, 14, 16))
    image.paste((0, 0, 255), (30, 20, 38, 28))
    boxes = torch.tensor([[4.0, 6, 14, 16], [30, 20, 38, 28]])
    flipped, moved, kept, _ = BoxAugmentation(flip=1.0, crop=0.0)(image, boxes)
    assert moved.tolist() == [[26, 6, 36, 16], [2, 20, 10, 28]]
    assert kept.all()
    assert flipped.getpixel((30, 10)) == (255, 0, 0)
    for seed in range(20):
        torch.manual_seed(seed)
        cut, moved, kept, shortest = BoxAugmentation(
            flip=0.5, crop=1.0, smallest_crop=0.4, color_jitter=0.1, shortest=(24, 48)
        )(image, boxes)
        assert shortest in (24, 48)
        assert len(moved) == kept.sum() >= 1
        for box, label in zip(moved, kept.nonzero()[:, 0].tolist(), strict=True):
            x, y = ((box[:2] + box[2:]) / 2).int().tolist()
            assert cut.getpixel((x, y))[2 * label] > 100
            assert (box[:2] >= 0).all()
            assert box[2] <= cut.width
            assert box[3] <= cut.height
    _, moved, kept, _ = BoxAugmentation(crop=1.0)(image, torch.zeros(0, 4))
    assert len(moved) == len(kept) == 0


def test_sizes_keep_proportions_within_both_limits() -> None:
    preprocessing = DetectionPreprocessing(shortest=100, longest=150)
    assert preprocessing.size(480, 640) == (100, 133)
    assert preprocessing.size(480, 960) == (75, 150)
    assert preprocessing.size(480, 640, shortest=60) == (60, 80)
    again = DetectionPreprocessing.from_cfg({**preprocessing.as_dict(), "architecture": "detr"})
    assert again == preprocessing


def test_shares_and_corners_are_inverse() -> None:
    boxes = torch.tensor([[2.0, 4, 10, 20], [0, 0, 40, 30]])
    shares = as_shares(boxes, (30, 40))
    torch.testing.assert_close(shares[1], torch.tensor([0.5, 0.5, 1.0, 1.0]))
    torch.testing.assert_close(to_corners(shares, torch.tensor([30, 40])), boxes)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DetectionPreprocessing(shortest=10, longest=5), "must be positive and rise"),
        (lambda: DetectionPreprocessing(shortest=10, longest=10**9), "at most 16,384"),
        (lambda: DetectionPreprocessing(mean=(0.0,)), "1 values for 3 channels"),
        (lambda: BoxAugmentation(flip=2.0), "is a probability"),
        (lambda: BoxAugmentation(smallest_crop=0.0), "outside"),
        (lambda: VOCDetection(path="x", limit=0), "leave it out for all"),
        (lambda: VOCDetection(path="x", on_invalid="keep"), "'raise' or 'skip'"),
    ],
)
def test_values_out_of_range_are_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build()
