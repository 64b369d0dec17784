"""Masks as they lie on disks: layouts, files of classes, colours, sizes, and what data check says."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headway.core.cli.main import main
from headway.core.errors import InputError, UserError
from headway.vision.data.class_files import read_class_file
from headway.vision.data.mask_layouts import find_pairs
from headway.vision.data.mask_reading import IGNORED, mask_reader, read_values
from headway.vision.data.segmentation_folder import SegmentationFolder
from headway.vision.data.size_batches import SizeBatches

COLOURS = {"road": (128, 64, 128), "car": (64, 0, 128), "void": (0, 0, 0)}


def picture(path: Path, size: tuple[int, int] = (16, 12), seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng([seed, *path.stem.encode()])
    Image.fromarray(random.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(path)


def ids(size: tuple[int, int] = (16, 12)) -> np.ndarray:
    found = np.zeros(size[::-1], np.uint8)
    found[2:8, 3:9] = 1
    return found


def mask(path: Path, size: tuple[int, int] = (16, 12)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(ids(size)).save(path)


LAYOUTS = {
    "camvid": ("{split}/{name}.jpg", "{split}annot/{name}.png"),
    "folders, then splits": ("images/{split}/{name}.jpg", "masks/{split}/{name}.png"),
    "splits, then folders": ("{split}/images/{name}.jpg", "{split}/labels/{name}_mask.png"),
    "ade": ("ADE/images/{split}ing/{name}.jpg", "ADE/annotations/{split}ing/{name}.png"),
    "beside each other": ("{split}/{name}.png", "{split}/{name}_L.png"),
    "voc": ("JPEGImages/{name}.jpg", "SegmentationClass/{name}.png"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_masks_are_found_in_common_layouts(layout: str, tmp_path: Path) -> None:
    names = {"train": ["a", "b"], "test": ["c"]}
    for split, of_split in names.items():
        for name in of_split:
            for pattern, write in zip(LAYOUTS[layout], (picture, mask), strict=True):
                write(tmp_path / "data" / pattern.format(split=split, name=name))
    if layout == "voc":
        lists = tmp_path / "data" / "ImageSets" / "Segmentation"
        lists.mkdir(parents=True)
        for split, of_split in names.items():
            (lists / f"{split}.txt").write_text("\n".join(of_split))
        mask(tmp_path / "data" / "SegmentationObject" / "a.png")
    found = find_pairs(tmp_path)
    assert found.split
    assert {
        split: [pair.picture.stem for pair in pairs] for split, pairs in found.parts.items()
    } == names
    for pairs in found.parts.values():
        for pair in pairs:
            assert pair.mask is not None
            assert pair.mask.stem.split("_")[0] == pair.picture.stem


def folder(root: Path, number: int = 10) -> Path:
    for place in range(number):
        picture(root / f"images/{place}.jpg")
        mask(root / f"masks/{place}.png")
    return root


def test_where_nothing_tells_splits_apart_the_seed_does(tmp_path: Path) -> None:
    folder(tmp_path)

    def names(seed: int) -> list[list[str]]:
        data = SegmentationFolder(
            path=str(tmp_path), class_names=["road", "car"], val=0.2, test=1, seed=seed
        )
        data.setup()
        sets = (data.train_set, data.val_set, data.test_set)
        return [[one.picture.stem for one in part.pictures] for part in sets]  # pyright: ignore

    first = names(0)
    assert [len(part) for part in first] == [7, 2, 1]
    assert sorted(name for part in first for name in part) == [str(k) for k in range(10)]
    assert first == names(0)
    assert first != names(1)


FILES: dict[str, tuple[str, str]] = {
    "camvid": ("c.txt", "128 64 128\troad\n64 0 128\t\tcar\n0 0 0 void\n"),
    "cvat": (
        "c.txt",
        "# label:color:parts:actions\nroad:128,64,128::\ncar:64,0,128::\nvoid:0,0,0::",
    ),
    "kaggle": ("c.csv", "name,r,g,b\nroad,128,64,128\ncar,64,0,128\nvoid,0,0,0\n"),
    "tsv": (
        "c.tsv",
        "id\tname\tred\tgreen\tblue\n0\troad\t128\t64\t128\n1\tcar\t64\t0\t128\n2\tvoid\t0\t0\t0\n",
    ),
    "json": ("c.json", json.dumps(COLOURS)),
}


@pytest.mark.parametrize("kind", FILES)
def test_colours_of_a_file_are_classes(kind: str, tmp_path: Path) -> None:
    name, text = FILES[kind]
    (tmp_path / name).write_text(text)
    reader = mask_reader(tmp_path / name, "void")
    assert reader.classes.names == ("road", "car")
    assert reader.classes.ids == (0, 1)
    rgb = np.array([[*COLOURS.values()]], np.uint8)
    Image.fromarray(rgb).save(tmp_path / "m.png")
    assert reader.read(tmp_path / "m.png").tolist() == [[0, 1, IGNORED]]
    # Those of a palette are ids.
    Image.fromarray(np.array([[1, 0, 2]], np.uint8)).convert("P").save(tmp_path / "p.png")
    assert reader.read(tmp_path / "p.png").tolist() == [[1, 0, IGNORED]]
    rgb[0, 0] = 1, 2, 3
    Image.fromarray(rgb).save(tmp_path / "m.png")
    with pytest.raises(InputError, match=r"the colours \(1, 2, 3\) \(33.33% of its pixels\)"):
        reader.read(tmp_path / "m.png")


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("c.txt", "road\n\ncar\n", [("road", None), ("car", None)]),
        ("c.csv", "id;name\n7;road\n300;car\n", [("road", 7), ("car", 300)]),
        ("c.json", '{"0": "road", "1": "car"}', [("road", 0), ("car", 1)]),
        (
            "c.json",
            '[{"id": 3, "name": "road"}, {"id": 4, "name": "car"}]',
            [("road", 3), ("car", 4)],
        ),
    ],
)
def test_names_and_ids_are_read(
    tmp_path: Path, name: str, text: str, wanted: list[tuple[str, int | None]]
) -> None:
    (tmp_path / name).write_text(text)
    assert [(one.name, one.id) for one in read_class_file(tmp_path / name)] == wanted


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.csv", "id,name\nx,road\n", "has the id 'x', expected a whole number"),
        ("c.csv", "name,r,g,b\nroad,1,2,300\n", "expected three numbers in 0 .. 255"),
        ("c.csv", "colour\nred\n", "has no name"),
        ("c.json", "[3]", "expected a name"),
        ("c.txt", "# nothing\n", "names no class"),
        ("c.txt", "1 2 3 road\n1 2 3 car\n", "two classes of .* have one colour"),
    ],
)
def test_broken_files_of_classes_are_one_line(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        mask_reader(tmp_path / name)


def test_masks_of_16_bits_keep_their_ids(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("id,name\n7,road\n1000,car\n")
    Image.fromarray(np.array([[7, 1000, 255]], np.uint16)).save(tmp_path / "m.png")
    assert mask_reader(tmp_path / "c.csv").read(tmp_path / "m.png").tolist() == [[0, 1, IGNORED]]


def test_several_ids_are_ignored_and_255_may_be_a_class(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 9, 255, 1]], np.uint8)).save(tmp_path / "m.png")
    reader = mask_reader(["road", "car"], [9, 255])
    assert reader.read(tmp_path / "m.png").tolist() == [[0, IGNORED, IGNORED, 1]]
    (tmp_path / "c.csv").write_text("id,name\n0,road\n255,car\n")
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(tmp_path / "m.png")
    assert mask_reader(tmp_path / "c.csv").read(tmp_path / "m.png").tolist() == [[0, 1]]
    with pytest.raises(InputError, match="classes go from 0 to 0, and 9 is ignored: mend the mask"):
        mask_reader(["road"], 9).read(tmp_path / "m.png")


def jpeg(path: Path) -> None:
    Image.fromarray(ids()).save(path, format="JPEG")


def rgb(path: Path) -> None:
    Image.new("RGB", (16, 12)).save(path)


def text(path: Path) -> None:
    path.write_text("no picture")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(jpeg, "it is a JPEG, which changes ids"), (rgb, "colours and not ids"), (text, "not a mask")],
)
def test_masks_that_cannot_be_used_are_named(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    folder(tmp_path, 3)
    spoil(tmp_path / "masks" / "1.png")
    with pytest.raises(InputError, match=reason) as raised:
        SegmentationFolder(path=str(tmp_path), class_names=["road", "car"]).setup()
    assert "1.png" in str(raised.value)


def test_batches_have_pictures_of_one_size(tmp_path: Path) -> None:
    sizes = [(16, 12), (20, 12), (16, 12), (16, 12), (20, 12)]
    for split in ("train", "val"):
        for place, size in enumerate(sizes):
            picture(tmp_path / f"{split}/images/{place}.jpg", size)
            mask(tmp_path / f"{split}/masks/{place}.png", size)
    data = SegmentationFolder(path=str(tmp_path), class_names=["road", "car"], batch_size=2)
    data.setup()
    for loader in (data.val_dataloader(), data.train_dataloader()):
        batches = list(loader)
        assert len(batches) == len(loader) == 3
        assert sum(len(images) for images, _ in batches) == 5
        assert all(images.shape[2:] == labels.shape[1:] for images, labels in batches)
    order = SizeBatches([4, 0, 1, 3], sizes, 2, drop_last=True)
    assert list(order) == [[4, 1], [0, 3]]
    assert len(order) == 2


def test_without_names_the_message_says_what_a_mask_has(tmp_path: Path) -> None:
    folder(tmp_path, 3)
    with pytest.raises(UserError, match=r"class_names is missing.* 0.png has the ids \[0, 1\]"):
        SegmentationFolder(path=str(tmp_path))
    (tmp_path / "classes.txt").write_text("road\ncar\n")
    assert SegmentationFolder(path=str(tmp_path)).classes == ("road", "car")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "has no pictures"),
        (lambda root: picture(root / "images/a.jpg"), "1 pictures and no masks"),
        (lambda root: (picture(root / "val/a.jpg"), mask(root / "valannot/a.png")), "in train"),
    ],
)
def test_folders_without_pictures_or_masks_are_refused(
    tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    make(tmp_path)
    with pytest.raises(UserError, match=message):
        find_pairs(tmp_path)


def test_data_check_counts_pixels_and_says_what_is_wrong(tmp_path: Path, capsys) -> None:
    root = folder(tmp_path / "data", 8)
    picture(root / "images/again.png")
    (root / "images/again.png").write_bytes((root / "images/0.jpg").read_bytes())
    mask(root / "masks/again.png")
    Image.new("L", (8, 8)).save(root / "masks/1.png")
    Image.new("L", (16, 12), 9).save(root / "masks/2.png")
    text(root / "masks/3.png")
    (root / "masks/4.png").unlink()
    text(root / "images/5.jpg")
    mask(root / "masks/lonely.png")
    words = ["data", "check", str(root), "--classes", "road", "car", "bus"]
    table, plot = tmp_path / "findings.csv", tmp_path / "plot.png"
    assert main([*words, "-o", str(table), "--plot", str(plot)]) == 1
    said = capsys.readouterr().out
    assert "training refuses 5 of these" in said
    kinds = [row["kind"] for row in csv.DictReader(table.open())]
    assert kinds == [
        "unreadable picture", "missing mask", "unreadable mask", "unknown id", "size differs",
        "class never seen", "mask without picture", "same picture twice",
    ]  # fmt: skip
    assert plot.is_file()
    assert main([*words, "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["splits"] == [
        {"split": "train", "pictures": 4, "sizes": 1, "pixels": 768, "ignored": "0.00%"}
    ]
    assert [row["train"] for row in facts["classes"]] == ["81.25%", "18.75%", "0.00%"]
    assert [row["train_pictures"] for row in facts["classes"]] == [4, 4, 0]


def test_data_check_takes_the_ids_that_are_there_for_classes(tmp_path: Path, capsys) -> None:
    root = folder(tmp_path / "data", 2)
    assert main(["data", "check", str(root)]) == 0
    said = capsys.readouterr().out
    assert "nobody names the classes" in said
    assert "nothing that training refuses" in said


def test_a_folder_of_neither_boxes_nor_masks_is_one_line(tmp_path: Path, capsys) -> None:
    picture(tmp_path / "a.png")
    assert main(["data", "check", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "neither COCO's .json" in said
    assert "and as for masks" in said
    assert "1 pictures and no masks" in said


def test_values_are_not_scaled(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 65535]], np.uint16)).save(tmp_path / "m.png")
    assert read_values(tmp_path / "m.png").tolist() == [[0, 65535]]
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "b.png")
    assert read_values(tmp_path / "b.png").tolist() == [[1, 0]]
    assert torch.from_numpy(mask_reader(["a", "b"]).read(tmp_path / "b.png")).tolist() == [[1, 0]]
