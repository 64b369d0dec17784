"""Folders of pictures with boxes as they lie there, in every format."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from PIL import Image

from headway.core.cli.main import main
from headway.core.errors import UserError
from headway.core.training import AdamW
from headway.vision.data import BoxAugmentation, COCODetection, DetectionFolder, VOCDetection
from headway.vision.data.box_format import Claim, check_format
from headway.vision.layers import ResNet
from headway.vision.models import DETR
from headway.vision.tasks import ObjectDetection

IDS = {"blue": 1, "green": 44, "red": 90}
NAMES = list(IDS)
PLAIN: dict[str, Any] = {
    "shortest": 48, "longest": 64, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0),
}  # fmt: skip
Objects = list[tuple[str, int, int, int, int]]


def scene(seed: int, width: int = 64, height: int = 48) -> tuple[Image.Image, Objects]:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 60, (height, width, 3), dtype=np.uint8)
    objects: Objects = []
    for channel, label in ((0, "red"), (2, "blue"), (1, "green")):
        left, top = random.integers(0, width - 24), random.integers(0, height - 20)
        right, bottom = left + random.integers(8, 24), top + random.integers(8, 20)
        pixels[top:bottom, left:right, channel] = 255
        objects.append((label, int(left), int(top), int(right), int(bottom)))
    return Image.fromarray(pixels), objects


def as_xml(objects: Objects) -> str:
    text = "<annotation>"
    for label, *sides in objects:
        named = zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=True)
        box = "".join(f"<{side}>{value}</{side}>" for side, value in named)
        text += f"<object><name>{label}</name><bndbox>{box}</bndbox></object>"
    return text + "</annotation>"


def as_text(objects: Objects, width: int = 64, height: int = 48) -> str:
    lines = []
    for label, left, top, right, bottom in objects:
        centre = ((left + right) / 2 / width, (top + bottom) / 2 / height)
        size = ((right - left) / width, (bottom - top) / height)
        lines.append(" ".join(str(value) for value in (NAMES.index(label), *centre, *size)))
    return "\n".join(lines)


def as_coco(pictures: dict[str, Objects], **more: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "images": [], "annotations": [],
        "categories": [{"id": number, "name": name} for name, number in IDS.items()],
    }  # fmt: skip
    for number, (name, objects) in enumerate(pictures.items()):
        content["images"].append({"id": 1000 + 7 * number, "file_name": name, **more})
        for label, left, top, right, bottom in objects:
            content["annotations"].append(
                {
                    "id": 501 + len(content["annotations"]),
                    "image_id": 1000 + 7 * number,
                    "category_id": IDS[label],
                    "bbox": [left, top, right - left, bottom - top],
                    "iscrowd": 0,
                }
            )
    return content


def write(root: Path, path: str, content: Any) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, Image.Image):
        content.save(file)
    else:
        file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def in_all_formats(root: Path, count: int = 6) -> dict[str, Path]:
    """The same pictures and boxes three times, as they often lie; nowhere is a size or a split."""
    pictures: dict[str, Objects] = {}
    for number in range(count):
        image, objects = scene(number)
        pictures[f"{number:03}.png"] = objects
        for kind in ("coco", "voc", "yolo"):
            write(root, f"{kind}/images/{number:03}.png", image)
        write(root, f"voc/annotations/{number:03}.xml", as_xml(objects))
        write(root, f"yolo/labels/{number:03}.txt", as_text(objects))
    write(root, "coco/annotations/boxes.json", as_coco(pictures))
    write(root, "yolo/classes.txt", "\n".join(NAMES))
    return {kind: root / kind for kind in ("coco", "voc", "yolo")}


def names(data: DetectionFolder | VOCDetection) -> dict[str, list[str]]:
    return {split: [p.path.name for p in part.pictures] for split, part in data.parts.items()}


def test_the_same_pictures_in_each_format_are_the_same_data(tmp_path: Path) -> None:
    read = {
        kind: DetectionFolder(path=str(path), val=2, seed=1, **PLAIN)
        for kind, path in in_all_formats(tmp_path).items()
    }
    splits = [names(data) for data in read.values()]
    assert splits[0] == splits[1] == splits[2]
    assert {split: len(part) for split, part in splits[0].items()} == {"train": 4, "val": 2}
    for pictures in zip(*(data.parts["train"].pictures for data in read.values()), strict=True):
        for one in pictures[1:]:
            torch.testing.assert_close(one.boxes, pictures[0].boxes)
            assert torch.equal(one.labels, pictures[0].labels)
    assert [data.classes for data in read.values()] == [tuple(NAMES)] * 3
    ids = [data.preprocessing()["category_ids"] for data in read.values()]
    assert ids == [[1, 44, 90], [1, 2, 3], [0, 1, 2]]


class Losses(lightning.Callback):
    def __init__(self) -> None:
        self.found: list[float] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *rest: Any) -> None:
        self.found.append(float(outputs["loss"]))


def test_training_on_each_format_is_the_same(tmp_path: Path) -> None:
    losses, weights = [], []
    for path in in_all_formats(tmp_path, 5).values():
        torch.manual_seed(0)
        backbone = ResNet(depths=[1], widths=[8], bottleneck=False, stem=8)
        model = DETR(
            num_classes=3, backbone=backbone, dim=16, heads=2, queries=5, encoder_depth=1, decoder_depth=1
        )  # fmt: skip
        task = ObjectDetection(backbone=model, optimizer=AdamW(lr=1e-3), ema=None)
        seen = Losses()
        trainer = lightning.Trainer(
            accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            default_root_dir=tmp_path, max_steps=2, num_sanity_val_steps=0, callbacks=[seen],
            enable_model_summary=False,
        )  # fmt: skip
        data = DetectionFolder(
            path=str(path), val=1, batch_size=2, augment=BoxAugmentation(crop=0.5), **PLAIN
        )
        trainer.fit(task, data)
        losses.append(seen.found)
        weights.append(torch.cat([value.flatten() for value in model.parameters()]))
    assert len(losses[0]) == 2
    for other in (1, 2):
        assert losses[other] == pytest.approx(losses[0], rel=1e-5)
        torch.testing.assert_close(weights[other], weights[0], rtol=1e-4, atol=1e-5)


def test_splits_are_those_that_names_speak_of(tmp_path: Path) -> None:
    pictures = {"a.png": scene(0), "b.png": scene(1), "c.png": scene(2)}
    # The same name in two folders: the annotation file is called after one of them.
    for split, chosen in (("train2017", "ab"), ("val2017", "ac")):
        found = {f"{one}.png": pictures[f"{one}.png"] for one in chosen}
        for name, (image, _) in found.items():
            write(tmp_path, f"coco/images/{split}/{name}", image)
        boxes = {name: objects for name, (_, objects) in found.items()}
        write(tmp_path, f"coco/annotations/instances_{split}.json", as_coco(boxes))
        write(
            tmp_path, f"coco/annotations/captions_{split}.json", {"images": [], "annotations": []}
        )
    data = DetectionFolder(path=str(tmp_path / "coco"))
    assert names(data) == {"train": ["a.png", "b.png"], "val": ["a.png", "c.png"]}
    assert data.parts["val"].pictures[0].path.parent.name == "val2017"
    single = COCODetection(
        train=str(tmp_path / "coco/annotations/instances_train2017.json"), val=0.5, seed=3
    )
    assert {split: len(part) for split, part in single.parts.items()} == {"train": 1, "val": 1}
    for split in ("train", "valid", "test"):
        image, objects = pictures["a.png"]
        write(tmp_path, f"voc/{split}/x.png", image)
        write(tmp_path, f"voc/{split}/x.xml", as_xml(objects))
        write(tmp_path, f"beside/{split}/x.png", image)
        write(tmp_path, f"beside/{split}/_annotations.coco.json", as_coco({"x.png": objects}))
        write(tmp_path, f"yolo/{split}/images/x.png", image)
        write(tmp_path, f"yolo/{split}/labels/x.txt", as_text(objects))
    # Published files have paths that lead one folder too high, and test splits that are not given away.
    entries = "train: ../train/images\nval: ../valid/images\ntest: ../nowhere\nnames: [x, y, z]\n"
    write(tmp_path, "yolo/data.yaml", f"path: ../datasets/none\n{entries}nc: 3\n")
    for kind in ("voc", "beside", "yolo"):
        data = DetectionFolder(path=str(tmp_path / kind))
        expected = ["train", "val"] if kind == "yolo" else ["train", "val", "test"]
        assert list(data.parts) == expected, kind
        for split, part in data.parts.items():
            folder = {"val": "valid"}.get(split, split)
            assert folder in part.pictures[0].path.parts
    assert data.classes == ("x", "y", "z")


@pytest.mark.parametrize("kind", [DetectionFolder, VOCDetection])
def test_the_folder_above_one_with_splits_keeps_its_splits(
    kind: type[DetectionFolder | VOCDetection], tmp_path: Path
) -> None:
    image, objects = scene(0)
    write(tmp_path, "set/LICENSE", "free")
    for folder in ("set/BCCD", "two/a", "two/b"):
        for name in "xyz":
            write(tmp_path, f"{folder}/JPEGImages/{name}.png", image)
            write(tmp_path, f"{folder}/Annotations/{name}.xml", as_xml(objects))
        for split, name in (("train", "x"), ("val", "y"), ("test", "z")):
            write(tmp_path, f"{folder}/ImageSets/Main/{split}.txt", name)
    data = kind(path=str(tmp_path / "set"))
    assert names(data) == {"train": ["x.png"], "val": ["y.png"], "test": ["z.png"]}
    with pytest.raises(UserError, match=r"2 data sets with splits of their own \(a, b\)"):
        kind(path=str(tmp_path / "two")).setup()


def test_yolo_with_lists_of_pictures_polygons_and_no_names(tmp_path: Path) -> None:
    for number in range(3):
        image, objects = scene(number)
        write(tmp_path, f"set/{number}.png", image)
        write(tmp_path, f"set/{number}.txt", as_text(objects))
    write(tmp_path, "set/1.txt", "2 0.25 0.5 0.75 0.5 0.5 1.0\n\n")
    write(tmp_path, "set/2.txt", "")
    data = DetectionFolder(path=str(tmp_path / "set"), val=0)
    assert data.classes == ("0", "1", "2")
    assert data.parts["train"].pictures[1].boxes.tolist() == [[16, 24, 48, 48]]
    assert [len(picture.boxes) for picture in data.parts["train"].pictures] == [3, 1, 0]
    (tmp_path / "set/2.txt").unlink()
    write(tmp_path, "set/first.txt", "./0.png\n2.png\n")
    names = "names: {0: a, 1: b, 2: c, 7: d}\n"
    file = write(tmp_path, "set/x.yaml", f"train: first.txt\nval: [first.txt, first.txt]\n{names}")
    data = DetectionFolder(path=str(file))
    assert {split: len(part) for split, part in data.parts.items()} == {"train": 2, "val": 2}
    assert data.preprocessing()["category_ids"] == [0, 1, 2, 7]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 0.5 0.5 0.2", "labels/a.txt, line 1: has 4 numbers"),
        ("0 0.5 0.5 0.2 x", "line 1: .* no number"),
        ("0 30 20 10 10", "line 1: .*values lie in 0..1"),
        ("0 0.5 0.5 nan 0.2", "line 1: .*values lie in 0..1"),
        ("0.5 0.5 0.5 0.2 0.2", "its class 0.5 is no number of a class"),
        ("\n3 0.5 0.5 0.2 0.2", "line 2: its class 3 is none of 0, 1, 2"),
        ("0 0.5 0.5 0 0.2", "line 1: .* has no area"),
        ("0 0.9 0.5 0.4 0.2", "line 1: .* lies outside its picture"),
        ("0 0.1 0.2 0.7 0.7\n0 0.2 0.1 0.9 0.9", "only as left, top, right, bottom"),
    ],
)
def test_wrong_lines_of_yolo_are_named(text: str, said: str, tmp_path: Path) -> None:
    write(tmp_path, "images/a.png", scene(0)[0])
    write(tmp_path, "images/b.png", scene(1)[0])
    write(tmp_path, "labels/a.txt", text)
    write(tmp_path, "labels/b.txt", "" if "only" in said else as_text(scene(1)[1]))
    write(tmp_path, "classes.txt", "a\nb\nc\n\n")
    with pytest.raises(UserError, match=said):
        _ = DetectionFolder(path=str(tmp_path)).parts


def test_corners_in_place_of_sizes_are_refused(tmp_path: Path) -> None:
    folder = in_all_formats(tmp_path)["coco"]
    file = folder / "annotations" / "boxes.json"
    right = DetectionFolder(path=str(folder), val=0).parts["train"].pictures[0].boxes
    content = json.loads(file.read_text())
    for one in content["annotations"]:
        left, top, width, height = one["bbox"]
        one["bbox"] = [left, top, left + width, top + height]
    file.write_text(json.dumps(content))
    for policy in ("raise", "skip"):
        with pytest.raises(UserError, match="only as left, top, right, bottom, none only as left"):
            _ = DetectionFolder(path=str(folder), on_invalid=policy).parts  # pyright: ignore
    data = DetectionFolder(path=str(folder), boxes="xyxy", val=0)
    assert torch.equal(data.parts["train"].pictures[0].boxes, right)


def claim(*numbers: float, **known: Any) -> Claim:
    a, b, c, d = numbers
    return Claim(meant=(a, b, a + c, b + d), corners=(a, b, c, d), size=(100, 100), **known)


def test_what_tells_sizes_from_corners() -> None:
    def check(*claims: Claim) -> None:
        check_format(claims, "f.json", "left, top, width, height", "say which")

    both = claim(10, 10, 40, 40)
    check(both, both)  # too few to say
    with pytest.raises(UserError, match="f.json: all 5 boxes fit .* nothing tells"):
        check(*[both] * 5)
    check(*[both] * 5, claim(60, 60, 30, 30))
    check(*[both] * 4, claim(10, 10, 40, 40, area=1600))
    check(*[both] * 4, claim(10, 10, 40, 40, outline=(10, 10, 50, 50)))
    with pytest.raises(UserError, match="1 of 5 boxes fit their pictures only as left, top, right"):
        check(*[both] * 4, claim(10, 10, 40, 40, area=900))
    with pytest.raises(UserError, match="1 of 2 boxes"):
        check(both, claim(60, 60, 90, 90))
    # Boxes from the corner of the picture are the same either way.
    check(*[claim(0, 0, 50, 50)] * 9)


def test_categories_without_objects_do_not_take_the_name_of_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = in_all_formats(tmp_path)["coco"]
    file = folder / "annotations" / "boxes.json"
    content = json.loads(file.read_text())
    content["categories"].insert(0, {"id": 0, "name": "red"})
    file.write_text(json.dumps(content))
    data = DetectionFolder(path=str(folder))
    assert data.classes == ("blue", "green", "red")
    assert data.preprocessing()["category_ids"] == [1, 44, 90]
    assert "the category 'red' is there 2 times; that of the id 90 counts" in caplog.text


def test_classes_take_the_order_that_is_asked_for(tmp_path: Path) -> None:
    for kind, path in in_all_formats(tmp_path).items():
        data = DetectionFolder(path=str(path), class_names=["red", "blue", "green"], val=0)
        assert data.classes == ("red", "blue", "green")
        assert data.parts["train"].pictures[0].labels.tolist() == [0, 1, 2]
        ids = {"coco": [90, 1, 44], "voc": [1, 2, 3], "yolo": [2, 0, 1]}
        assert data.preprocessing()["category_ids"] == ids[kind]
        with pytest.raises(UserError, match="its class 'blue' is none of red"):
            _ = DetectionFolder(path=str(path), class_names=["red", "green"]).parts
        few = DetectionFolder(
            path=str(path), class_names=["red", "green"], on_invalid="skip", val=0
        )
        assert [len(picture.boxes) for picture in few.parts["train"].pictures] == [2] * 6
    with pytest.raises(UserError, match="each of them once"):
        DetectionFolder(path="x", class_names=["a", "a"])


def test_boxes_of_turned_pictures_are_of_the_upright_one_where_no_size_is_said(
    tmp_path: Path,
) -> None:
    stored = Image.new("RGB", (60, 40))
    stored.paste((255, 0, 0), (10, 5, 30, 15))
    exif = Image.Exif()
    exif[0x0112] = 6
    box = ("red", 25, 10, 35, 30)
    for kind in ("coco", "voc", "yolo"):
        (tmp_path / kind / "images").mkdir(parents=True)
        stored.save(tmp_path / kind / "images" / "a.png", exif=exif)
    write(tmp_path, "coco/annotations/x.json", as_coco({"a.png": [box]}))
    write(tmp_path, "voc/annotations/a.xml", as_xml([box]))
    write(tmp_path, "yolo/labels/a.txt", as_text([box], 40, 60))
    for kind in ("coco", "voc", "yolo"):
        [picture] = DetectionFolder(path=str(tmp_path / kind), val=0).parts["train"].pictures
        left, top, right, bottom = picture.boxes[0].round().int().tolist()
        image = picture.read()
        assert image.size == (40, 60)
        assert image.crop((left, top, right, bottom)).getcolors() == [(200, (255, 0, 0))]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda root: root / "none", "does not exist"),
        (lambda root: write(root, "a/b.txt", "x").parent, "has no annotations"),
        (lambda root: write(root, "a/b.csv", "x"), "a file is COCO's .json or YOLO's .yaml"),
        (lambda root: in_all_formats(root)["coco"].parent, "annotations of voc and coco and yolo"),
        (
            lambda root: write(root, "a/y.json", as_coco({})).parent.joinpath(
                write(root, "a/x.json", as_coco({})).parent
            ),
            "several annotation files that may be train: x.json, y.json",
        ),
        (
            lambda root: write(root, "y.yaml", "train: pictures\nnames: [a]"),
            "train is 'pictures', which is neither in",
        ),
        (lambda root: write(root, "y.yaml", "names: [a, a]"), "two classes of the name 'a'"),
        (lambda root: write(root, "y.yaml", "names: [a]\nnc: 2"), "nc is 2, but there are 1 names"),
        (lambda root: write(root, "y.yaml", "names: [a]"), "names no pictures for train"),
        (lambda root: write(root, "y.yaml", "names: 3"), "it is a list, or names by number"),
    ],
)
def test_what_is_no_data_set_says_why(
    make: Callable[[Path], Path], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        _ = DetectionFolder(path=str(make(tmp_path))).parts
    assert "\n" not in str(caught.value)


def test_pictures_that_may_be_several_and_labels_of_none(tmp_path: Path) -> None:
    image, objects = scene(0)
    for folder in ("one", "two"):
        write(tmp_path, f"set/{folder}/a.png", image)
    write(tmp_path, "set/boxes.json", as_coco({"a.png": objects}))
    with pytest.raises(UserError, match="a.png may be each of one/a.png, two/a.png"):
        _ = DetectionFolder(path=str(tmp_path / "set")).parts
    write(tmp_path, "set/boxes.json", as_coco({"C:\\x\\two\\a.png": objects}))
    [picture] = DetectionFolder(path=str(tmp_path / "set"), val=0).parts["train"].pictures
    assert picture.path.parent.name == "two"
    write(tmp_path, "yolo/images/a.png", image)
    write(tmp_path, "yolo/classes.txt", "a")
    with pytest.raises(UserError, match=r"none of 1 pictures has a text file.*labels/a.txt"):
        _ = DetectionFolder(path=str(tmp_path / "yolo"), format="yolo").parts


def check(path: Path, *words: str) -> int:
    return main(["data", "check", str(path), *words])


def test_data_check_says_what_the_data_are_like(tmp_path: Path, capsys) -> None:
    for kind, path in in_all_formats(tmp_path).items():
        plot = tmp_path / f"{kind}.png"
        assert check(path, "--plot", str(plot)) == 0
        said = capsys.readouterr().out
        assert f"{path}: {kind}, pictures of 64x48 pixels" in said
        assert "nothing that training refuses" in said
        assert [line.split()[:3] for line in said.splitlines() if line.startswith("red")] == [
            ["red", {"coco": "90", "voc": "3", "yolo": "2"}[kind], "6"]
        ]
        with Image.open(plot) as drawn:
            assert min(drawn.size) > 500
    assert check(tmp_path / "coco", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["usable"]
    assert facts["splits"] == [
        {"split": "train", "pictures": 6, "without_boxes": 0, "boxes": 18, "crowd": 0, "most_in_one": 3}
    ]  # fmt: skip
    row = facts["classes"][2]
    widths = [right - left for _, objects in map(scene, range(6)) for n, left, _, right, _ in objects if n == "red"]  # fmt: skip
    assert row["median_width"] == sorted(widths)[2]
    assert (row["class"], row["id"], row["train"], row["small"]) == ("red", 90, 6, 6)


def test_data_check_finds_what_is_wrong(tmp_path: Path, capsys) -> None:
    folder = in_all_formats(tmp_path)["coco"]
    file = folder / "annotations" / "boxes.json"
    content = json.loads(file.read_text())
    entries = content["annotations"]
    entries[0]["bbox"] = [50, 40, 30, 5]
    entries[1]["bbox"][2] = 0
    entries[2]["category_id"] = 7
    del entries[3]["bbox"]
    entries.append({**entries[6], "id": 900})
    file.write_text(json.dumps(content))
    images = folder / "images"
    (images / "extra.png").write_bytes((images / "000.png").read_bytes())
    (images / "004.png").write_bytes((images / "003.png").read_bytes())
    # Whole at both ends, broken between them: training would stop there in the middle of an epoch.
    broken = bytearray((images / "005.png").read_bytes())
    broken[len(broken) // 2 : len(broken) // 2 + 64] = b"\0" * 64
    (images / "005.png").write_bytes(broken)
    data = DetectionFolder(path=str(folder), on_invalid="skip", val=0, **PLAIN)
    data.setup()
    with pytest.raises(UserError, match=r"005.png: broken .*headway data check finds all such"):
        _ = data.train_set[5]
    table = tmp_path / "findings.csv"
    assert check(folder, "-o", str(table)) == 1
    said = capsys.readouterr().out
    assert "training refuses 5 of these" in said
    rows = {row["kind"]: row for row in csv.DictReader(table.open())}
    expected = {
        "unreadable picture": "005.png",
        "outside": "000.png, annotation 501",
        "no area": "000.png, annotation 502",
        "unknown class": "000.png, annotation 503",
        "broken annotation": "001.png, annotation 504",
        "same box twice": "002.png",
        "same picture twice": "004.png",
        "without annotation": "extra.png",
    }
    assert {
        kind: row["name"].endswith(expected[kind]) for kind, row in rows.items()
    } == dict.fromkeys(expected, True)
    assert all(row["name"] in said for row in rows.values())
    assert check(folder, "-o", str(table)) == 2  # it stands there
    assert check(tmp_path / "none") == 2
    assert "does not exist" in capsys.readouterr().err


def test_data_check_finds_pictures_of_two_splits_and_classes_that_nothing_teaches(
    tmp_path: Path, capsys
) -> None:
    image, objects = scene(0)
    for split in ("train", "val"):
        write(tmp_path, f"set/{split}/a.png", image)
        chosen = objects if split == "val" else objects[:1]
        write(tmp_path, f"set/{split}/boxes.json", as_coco({"a.png": chosen}))
    assert check(tmp_path / "set") == 0
    said = capsys.readouterr().out
    assert "same picture in two splits: 1" in said
    assert "(val and train)" in said
    assert "blue has no box in train: it will not be found" in said


def test_a_validation_whose_boxes_are_all_refused_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image, objects = scene(0)
    for split in ("train", "val"):
        write(tmp_path, f"{split}/a.png", image)
        text = json.dumps(as_coco({"a.png": objects}))
        text = text if split == "train" else text.replace('"name": "', '"name": "a ')
        write(tmp_path, f"{split}/boxes.json", text)
    with pytest.raises(UserError, match="its class 'a red' is none of blue, green, red"):
        _ = DetectionFolder(path=str(tmp_path)).parts
    _ = DetectionFolder(path=str(tmp_path), on_invalid="skip").parts
    assert "val has no box that can be used: it gets no scores" in caplog.text
