"""Annotations and pictures as people have them: flat folders, turned and broken pictures, odd files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from headway.core.cli.counts import Counts
from headway.core.errors import UserError
from headway.vision.data import COCODetection, ImageFolder, VOCDetection
from headway.vision.data.preprocessing import Preprocessing
from headway.vision.verbs.inputs import find_items, read_batches

Make = Callable[..., Path]
PLAIN: dict[str, Any] = {
    "shortest": 48, "longest": 64, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0),
}  # fmt: skip


def flatten(root: Path) -> None:
    for file in (*root.glob("JPEGImages/*"), *root.glob("Annotations/*")):
        file.rename(root / file.name)
    for file in root.glob("ImageSets/Main/*"):
        file.unlink()
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main", "ImageSets"):
        (root / folder).rmdir()


def test_a_flat_folder_is_split_by_seed(make_voc: Make) -> None:
    root = make_voc()
    flatten(root)

    def names(split: str, **options: Any) -> list[str]:
        data = VOCDetection(path=str(root), **PLAIN, **options)
        return [picture.path.name for picture in data.parts[split].pictures]

    held = names("val", val=2, seed=1)
    assert held == names("val", val=2, seed=1)
    assert sorted(held + names("train", val=2, seed=1)) == [f"00{k}.jpg" for k in range(6)]
    assert len({tuple(names("val", val=2, seed=seed)) for seed in range(8)}) > 1
    assert len(names("val")) == 1
    assert VOCDetection(path=str(root), val=None, **PLAIN).parts.keys() == {"train"}
    with pytest.raises(UserError, match="val is a share or a number"):
        names("val", val="dev")


def test_test_may_be_missing_and_difficult_objects_are_not_learned(make_voc: Make) -> None:
    root = make_voc()
    (root / "ImageSets" / "Main" / "test.txt").unlink()
    file = root / "Annotations" / "000.xml"
    text = file.read_text().replace("</name>", "</name><difficult>1</difficult>", 1)
    file.write_text(text)
    data = VOCDetection(path=str(root), **PLAIN)
    data.setup()
    assert data.test_set is None
    assert data.train_set[0][1].crowd.tolist() == [True, False]
    assert data.preprocessing()["category_ids"] == [1, 2]


@pytest.mark.parametrize("size", ["", "<size><width>0</width><height>0</height></size>"])
def test_sizes_that_are_missing_are_those_of_pictures(size: str, make_voc: Make) -> None:
    root = make_voc()
    file = root / "Annotations" / "000.xml"
    text = file.read_text()
    start, end = text.index("<size>"), text.index("</size>") + len("</size>")
    file.write_text(text[:start] + size + text[end:])
    picture = VOCDetection(path=str(root), **PLAIN).parts["train"].pictures[0]
    with Image.open(picture.path) as image:
        assert picture.size == (image.height, image.width)


ODD = {
    "bomb": (b'<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "document type"),
    "latin": ("<annotation><name>\xe9</name></annotation>".encode("latin-1"), "is not UTF-8"),
    "null": (b"<annotation>\0</annotation>", "NUL"),
    "cut": (b"<annotation>", "is not XML"),
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_annotations_are_one_line(kind: str, make_voc: Make) -> None:
    root = make_voc()
    content, said = ODD[kind]
    (root / "Annotations" / "001.xml").write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        VOCDetection(path=str(root), **PLAIN).setup()
    assert "001.xml" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(VOCDetection(path=str(root), on_invalid="skip", **PLAIN).parts["train"]) == 5


def test_marks_and_depth_are_no_obstacle(make_voc: Make) -> None:
    root = make_voc()
    file = root / "Annotations" / "001.xml"
    deep = "<a>" * 20_000 + "</a>" * 20_000
    text = file.read_text().replace("</annotation>", f"{deep}</annotation>")
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert len(VOCDetection(path=str(root), **PLAIN).parts["train"]) == 6


def test_broken_pictures_are_found_before_training(make_voc: Make) -> None:
    root = make_voc()
    file = root / "JPEGImages" / "001.jpg"
    file.write_bytes(file.read_bytes()[:-200])
    (root / "JPEGImages" / "002.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"001.jpg: broken picture .*set on_invalid to skip"):
        VOCDetection(path=str(root), **PLAIN).setup()
    data = VOCDetection(path=str(root), on_invalid="skip", **PLAIN)
    assert [p.path.name for p in data.parts["train"].pictures] == [
        f"00{k}.jpg" for k in (0, 3, 4, 5)
    ]


def test_boxes_say_whether_a_picture_is_turned(tmp_path: Path) -> None:
    stored = Image.new("RGB", (60, 40))
    stored.paste((255, 0, 0), (10, 5, 30, 15))
    exif = Image.Exif()
    exif[0x0112] = 6
    stored.save(tmp_path / "a.png", exif=exif)
    # Orientation 6 is turned to the right by a quarter: x' = 40 - y, y' = x.
    for size, box in (((40, 60), [10, 5, 20, 10]), ((60, 40), [25, 10, 10, 20])):
        content = {
            "images": [{"id": 1, "file_name": "a.png", "height": size[0], "width": size[1]}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": box}],
            "categories": [{"id": 1, "name": "red"}],
        }
        (tmp_path / "x.json").write_text(json.dumps(content))
        data = COCODetection(train=str(tmp_path / "x.json"), **PLAIN)
        image = data.parts["train"].pictures[0].read()
        assert (image.height, image.width) == size
        left, top, width, height = box
        inside = image.crop((left, top, left + width, top + height))
        assert inside.getcolors() == [(200, (255, 0, 0))]
    content["images"][0]["height"] = 41
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="it is 40x60, but its annotation says 40x41"):
        COCODetection(train=str(tmp_path / "x.json"), **PLAIN).setup()


def change(root: Path, **values: Any) -> COCODetection:
    content = json.loads((root / "boxes.json").read_text())
    (root / "boxes.json").write_text(json.dumps({**content, **values}))
    return COCODetection(train=str(root / "boxes.json"), **PLAIN)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"categories": [{"id": 7, "name": "a"}, {"id": 90, "name": "a"}]},
            r"two categories .* 'a' .*ids 7 and 90",
        ),
        ({"categories": [{"id": 7, "name": None}]}, "is no text"),
        ({"categories": []}, "no categories"),
        ({"categories": 3}, "'categories' is no list of mappings"),
        ({"images": ["x"]}, "'images' is no list of mappings"),
        ({"images": [{"id": 100, "file_name": 3}], "annotations": []}, "file_name is 3"),
        ({"images": [{"id": [], "file_name": "a"}]}, r"has the id \[\]"),
        (
            {
                "images": [{"id": 100, "file_name": "0.png", "height": "x", "width": 1}],
                "annotations": [],
            },
            "'x'",
        ),
        ({"annotations": [{"image_id": 100, "category_id": 7, "bbox": [1, 2]}]}, "its bbox is"),
        ({"annotations": [{"image_id": 100, "category_id": 7, "bbox": [1, 2, "a", 3]}]}, "numbers"),
        ({"annotations": [{"image_id": 100, "category_id": 7, "bbox": [0, 0, 1e400, 3]}]}, "inf"),
        (
            {"annotations": [{"image_id": 100, "category_id": 7, "bbox": [0, 0, 10**400, 3]}]},
            "large",
        ),
        ({"annotations": [{"image_id": 100, "category_id": {}, "bbox": [0, 0, 1, 3]}]}, "the id"),
        (
            {"annotations": [{"id": 17, "image_id": 100, "bbox": [0, 0, 1, 3]}]},
            r"boxes.json, 0.png, annotation 17: it has no category_id",
        ),
        ({"annotations": []}, "train has no box"),
    ],
)
def test_wrong_values_of_coco_are_one_line(values: Any, said: str, make_coco: Make) -> None:
    with pytest.raises(UserError, match=said) as caught:
        change(make_coco(), **values).setup()
    assert "\n" not in str(caught.value)


def test_ids_may_be_texts_and_validation_may_have_no_boxes(make_coco: Make) -> None:
    root = make_coco()
    empty = json.loads((root / "boxes.json").read_text())
    empty["annotations"] = []
    (root / "empty.json").write_text(json.dumps(empty))
    text = (root / "boxes.json").read_text().replace('_id": 90', '_id": "90"')
    text = text.replace('"id": 100,', '"id": "a",').replace('"image_id": 100', '"image_id": "a"')
    (root / "boxes.json").write_text(text)
    data = COCODetection(train=str(root / "boxes.json"), val=str(root / "empty.json"), **PLAIN)
    data.setup()
    assert data.preprocessing()["category_ids"] == [7, 90]
    assert [int(target.number) for _, target in (data.train_set[k] for k in range(4))] == [
        1,
        2,
        3,
        4,
    ]
    assert torch.equal(data.train_set[0][1].labels, torch.tensor([0, 1]))
    assert len(data.val_set[0][1].boxes) == 0


def test_nan_in_an_annotation_costs_that_annotation_alone(make_coco: Make) -> None:
    file = make_coco() / "boxes.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"][2] = float("nan")
    content["annotations"][1]["image_id"] = float("inf")
    content["images"].append({"id": float("nan"), "file_name": "x.png", "height": 1, "width": 1})
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="annotation 2: it has the id inf"):
        _ = COCODetection(train=str(file), **PLAIN).parts
    data = COCODetection(train=str(file), on_invalid="skip", **PLAIN)
    assert len(data.parts["train"]) == 4
    assert (
        sum(len(p.boxes) for p in data.parts["train"].pictures) == len(content["annotations"]) - 2
    )
    said = [str(error) for error in data.invalid.errors]
    assert len(said) == 3
    assert any("0.png, annotation 0" in line and "nan" in line for line in said)


def test_bits_of_a_camera_are_stored_and_dark_pictures_stay_dark(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (24, 24)).astype(np.uint16)
    for label in ("a", "b"):
        for number in range(4):
            file = tmp_path / "set" / label / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values // (1 if number else 16)).save(file)
    mean: dict[str, Any] = {
        "mean": (0.0,) * 3,
        "std": (1.0,) * 3,
        "crop_mode": "squash",
        "crop_pct": 1.0,
    }
    data = ImageFolder(path=str(tmp_path / "set"), image_size=24, val=2, **mean)
    data.setup()
    notes = data.preprocessing()
    assert notes["bits"] == 12
    items, _ = find_items([str(tmp_path / "set" / "a")])
    [batch] = read_batches(
        items,
        Preprocessing.from_cfg(notes),
        batch_size=4,
        workers=0,
        on_invalid="raise",
        counts=Counts("pictures"),
        doing="reading",
    )
    dark, bright = batch[0][1], batch[1][1]
    assert isinstance(dark, Tensor)
    assert isinstance(bright, Tensor)
    assert dark.max() < 0.07 < 0.9 < bright.max()
    # What training sees of the same file is the same.
    for index, name in enumerate(data.train_set.pictures.names):
        if name == "a/0.png":
            torch.testing.assert_close(data.train_set[index][0], dark)
