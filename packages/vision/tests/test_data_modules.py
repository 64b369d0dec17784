import gzip
import io
import os
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headway.core import packed
from headway.core.errors import UserError
from headway.vision.data import sources
from headway.vision.data.batch_augmentation import PadCropFlip
from headway.vision.data.cifar10 import CIFAR10, CLASSES
from headway.vision.data.digits import Digits
from headway.vision.data.fashion_mnist import FashionMNIST
from headway.vision.data.image_folder import ImageFolder
from headway.vision.data.transforms import TrainingAugmentation

Make = Callable[..., Path]


def batches(loader) -> list:
    return [(images, labels) for images, labels in loader]


def equal(first: list, second: list) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a, b)
        for x, y in zip(first, second, strict=True)
        for a, b in zip(x, y, strict=True)
    )


def ready(module):
    module.setup("fit")
    return module


# Digits


def test_digits_are_split_by_class_and_without_overlap() -> None:
    digits = ready(Digits())
    parts = [digits.train_set, digits.val_set, digits.test_set]
    assert [len(part) for part in parts] == [1294, 144, 359]
    for part in parts:
        counts = np.bincount(part.arrays.labels, minlength=10)
        assert counts.min() >= 0.9 * counts.mean()
    seen = [{image.numpy().tobytes() for image in part.arrays.images} for part in parts]
    assert not seen[0] & seen[2]
    assert not seen[0] & seen[1]


def test_the_split_does_not_follow_the_seed_of_the_run() -> None:
    first, second = ready(Digits(seed=0)), ready(Digits(seed=1))
    assert torch.equal(first.train_set.arrays.images, second.train_set.arrays.images)
    assert not equal(batches(first.train_dataloader()), batches(second.train_dataloader()))


def test_statistics_are_those_of_the_training_split() -> None:
    digits = ready(Digits(channels=1))
    images = torch.cat([images for images, _ in digits.train_dataloader()])
    assert images.mean().abs() < 1e-3
    assert (images.std() - 1).abs() < 1e-3
    found = digits.preprocessing()
    assert found["classes"] == [str(k) for k in range(10)]
    assert found["input_size"] == [1, 8, 8]
    changed = Digits(channels=1, test=0.5).preprocessing()
    assert changed["mean"] != found["mean"]


def test_augmented_batches_are_a_function_of_seed_epoch_and_index() -> None:
    def sums(workers: int, batch_size: int, epoch: int) -> torch.Tensor:
        module = ready(
            Digits(workers=workers, batch_size=batch_size, augment=PadCropFlip(padding=1))
        )
        loader = module.train_dataloader()
        loader.batch_sampler.position = lambda: (epoch, 0)
        found = torch.cat([images.sum((1, 2, 3)) for images, _ in loader])
        return found.sort().values

    torch.testing.assert_close(sums(0, 64, 0), sums(2, 100, 0))
    assert not torch.allclose(sums(0, 64, 0), sums(0, 64, 1))


def test_evaluation_is_not_augmented() -> None:
    plain, augmented = ready(Digits()), ready(Digits(augment=PadCropFlip(padding=2)))
    assert equal(batches(plain.val_dataloader()), batches(augmented.val_dataloader()))
    assert equal(batches(plain.test_dataloader()), batches(augmented.test_dataloader()))


def test_validating_on_test_is_an_explicit_choice() -> None:
    digits = ready(Digits(validate_on_test=True))
    assert len(digits.train_set) == 1438
    assert digits.val_set.arrays is digits.test_set.arrays


# Fashion-MNIST


def idx(values: np.ndarray) -> bytes:
    return (
        struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()
    )


def write_idx(folder: Path, *, packed: bool) -> None:
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for prefix, count in (("train", 200), ("t10k", 40)):
        images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for name, values in (("images-idx3", images), ("labels-idx1", labels)):
            data = idx(values)
            path = folder / f"{prefix}-{name}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(data) if packed else data)


def test_packed_and_unpacked_idx_files_are_the_same(tmp_path: Path) -> None:
    write_idx(tmp_path / "packed", packed=True)
    write_idx(tmp_path / "plain" / "FashionMNIST" / "raw", packed=False)
    modules = [
        ready(FashionMNIST(path=str(tmp_path / name), val=50, channels=1))
        for name in ("packed", "plain")
    ]
    for module in modules:
        assert [len(s) for s in (module.train_set, module.val_set, module.test_set)] == [
            150,
            50,
            40,
        ]
    assert equal(batches(modules[0].train_dataloader()), batches(modules[1].train_dataloader()))


def test_missing_idx_files_name_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="apt-get install dataset-fashion-mnist"):
        ready(FashionMNIST(path=str(tmp_path)))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data[:-5], "fetch it again"),
        (lambda data: b"\x01" + data[1:], "not an IDX file"),
        (lambda data: idx(np.zeros((7, 28, 28), np.uint8)), "7 train images and 200 labels"),
    ],
)
def test_a_damaged_idx_file_is_named(tmp_path: Path, damage, said: str) -> None:
    write_idx(tmp_path / "d", packed=False)
    file = tmp_path / "d" / "train-images-idx3-ubyte"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UserError, match=said):
        ready(FashionMNIST(path=str(tmp_path / "d"), val=10))


# CIFAR-10


@pytest.fixture
def cifar(make_folder: Make) -> Path:
    make_folder("cifar/train", "cat dog fox", 6)
    return make_folder("cifar/test", "cat dog fox", 2).parent


def test_cifar_archives_equal_folders(cifar: Path, tmp_path: Path, pack: Make) -> None:
    packed = tmp_path / "packed"
    packed.mkdir()
    pack(cifar / "train", packed / "train.tar.gz")
    # Some archives wrap the classes in a folder.
    pack(cifar / "test", packed / "test.tar", "test")
    first, second = (ready(CIFAR10(path=str(path), val=3)) for path in (cifar, packed))
    for part in ("train_set", "val_set", "test_set"):
        ours, theirs = getattr(first, part).arrays, getattr(second, part).arrays
        assert torch.equal(ours.images, theirs.images)
        assert torch.equal(ours.labels, theirs.labels)
    assert first.preprocessing() == second.preprocessing()
    assert [len(s) for s in (first.train_set, first.val_set, first.test_set)] == [15, 3, 6]


def test_decoded_pictures_come_from_the_cache_until_a_file_changes(
    cifar: Path, monkeypatch
) -> None:
    import headway.vision.data.cifar10 as module

    decoded = []
    decode = module.decode
    monkeypatch.setattr(module, "decode", lambda *a, **k: decoded.append(1) or decode(*a, **k))
    ready(CIFAR10(path=str(cifar), val=3))
    ready(CIFAR10(path=str(cifar), val=3))
    assert len(decoded) == 2
    (cifar / "train" / "cat" / "00.jpg").write_bytes(
        (cifar / "train" / "dog" / "01.jpg").read_bytes()
    )
    ready(CIFAR10(path=str(cifar), val=3))
    assert len(decoded) == 3


def test_original_batches_are_read_and_nothing_else_is_unpickled(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (40, 3072), dtype=np.uint8)
    labels = [k % 10 for k in range(40)]
    names = ["data_batch_1", "data_batch_2", "test_batch"]

    def archive(path: Path, contents: list[bytes], ending: str = "") -> Path:
        with tarfile.open(path, "w:gz") as tar:
            for name, content in zip(names, contents, strict=True):
                info = tarfile.TarInfo(f"cifar-10/{name}{ending}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return path

    pickled = pickle.dumps({b"data": pixels, b"labels": labels}, protocol=2)
    python = ready(CIFAR10(path=str(archive(tmp_path / "a.tar.gz", [pickled] * 3)), val=10))
    records = np.concatenate([np.array(labels, np.uint8)[:, None], pixels], 1).tobytes()
    binary = ready(CIFAR10(path=str(archive(tmp_path / "b.tar.gz", [records] * 3, ".bin")), val=10))
    assert python.classes == CLASSES
    assert len(python.train_set) == 70
    for module in (python, binary):
        assert torch.equal(
            module.test_set.arrays.images, torch.from_numpy(pixels.reshape(-1, 3, 32, 32))
        )
    evil = pickle.dumps(print)
    with pytest.raises(UserError, match=r"names builtins\.print"):
        ready(CIFAR10(path=str(archive(tmp_path / "c.tar.gz", [evil] * 3))))


def test_a_wrong_cifar_folder_says_what_belongs_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        ready(CIFAR10(path=str(tmp_path / "none")))
    with pytest.raises(UserError, match="neither train and test"):
        ready(CIFAR10(path=str(tmp_path)))


def test_broken_cifar_pictures_follow_the_policy(cifar: Path, truncate, caplog) -> None:
    broken = truncate(cifar / "train" / "dog" / "03.jpg")
    with pytest.raises(UserError, match=r"dog/03\.jpg: broken picture"):
        ready(CIFAR10(path=str(cifar), val=3))
    for _ in range(2):  # decoded, then from the cache
        caplog.clear()
        module = ready(CIFAR10(path=str(cifar), val=3, on_invalid="skip"))
        assert len(module.train_set) + len(module.val_set) == 17
        assert f"skipped 1 of 18 files: {broken}" in caplog.text


# Image folders


def test_image_archives_equal_folders(make_folder: Make, tmp_path: Path, pack: Make) -> None:
    folder = make_folder()
    paths = [
        folder,
        pack(folder, tmp_path / "a.tar.gz"),
        pack(folder, tmp_path / "b.tar"),
        pack(folder, tmp_path / "c.tgz", "pets"),
    ]
    modules = [ready(ImageFolder(path=str(path), image_size=16, batch_size=8)) for path in paths]
    first = batches(modules[0].train_dataloader())
    assert sum(len(labels) for _, labels in first) == 27
    for module in modules[1:]:
        assert module.classes == ("cat", "dog", "fox")
        assert equal(first, batches(module.train_dataloader()))


def test_given_splits_are_kept_and_the_training_classes_rule(make_folder: Make) -> None:
    make_folder("data/train", "cat dog fox", 4)
    make_folder("data/valid", "dog fox", 3)
    path = make_folder("data/test", "fox", 2).parent
    module = ready(ImageFolder(path=str(path), image_size=16))
    assert [len(s) for s in (module.train_set, module.val_set, module.test_set)] == [12, 6, 2]
    assert module.test_set.pictures.labels.tolist() == [2, 2]
    assert module.preprocessing()["classes"] == ["cat", "dog", "fox"]


def test_carved_splits_are_stratified_disjoint_and_reproducible(make_folder: Make) -> None:
    path = str(make_folder())
    modules = [ready(ImageFolder(path=path, image_size=16, val=6, test=0.2)) for _ in range(2)]
    sets = [modules[0].train_set, modules[0].val_set, modules[0].test_set]
    assert [len(s) for s in sets] == [18, 6, 6]
    names = [set(s.pictures.names) for s in sets]
    assert len(set.union(*names)) == 30
    assert all(np.bincount(s.pictures.labels).tolist() == [len(s) // 3] * 3 for s in sets)
    assert modules[0].val_set.pictures.names == modules[1].val_set.pictures.names


def test_training_pictures_are_augmented_by_seed_and_index(make_folder: Make) -> None:
    path = str(make_folder())
    runs = [
        ready(
            ImageFolder(path=path, image_size=16, augment=TrainingAugmentation(), workers=workers)
        )
        for workers in (0, 2)
    ]
    first, second = (batches(run.train_dataloader()) for run in runs)
    assert equal(first, second)
    assert equal(batches(runs[0].val_dataloader()), batches(runs[1].val_dataloader()))


def test_the_model_says_what_its_pictures_must_be(make_folder: Make) -> None:
    class Attached(ImageFolder):
        def _model_cfg(self) -> dict:
            return {
                "input_size": (3, 48, 48),
                "mean": (0.5,) * 3,
                "std": (0.5,) * 3,
                "crop_pct": 0.9,
            }

    path = str(make_folder())
    found = Attached(path=path).preprocessing()
    assert (found["input_size"], found["mean"], found["crop_pct"]) == ([3, 48, 48], [0.5] * 3, 0.9)
    assert Attached(path=path, image_size=32, crop_pct=1.0).preprocessing()["input_size"] == [
        3,
        32,
        32,
    ]


def test_litter_of_file_managers_is_ignored(make_folder: Make) -> None:
    path = make_folder()
    (path / ".DS_Store").write_bytes(b"x")
    (path / "cat" / "Thumbs.db").write_bytes(b"x")
    (path / "cat" / "._00.jpg").write_bytes(b"x")
    (path / "README.txt").write_text("about the data")
    (path / ".hidden").mkdir()
    assert len(ready(ImageFolder(path=str(path), image_size=16, val=0)).train_set) == 30


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda p: (p / "ant").mkdir(), "class 'ant' .* has no usable pictures"),
        (
            lambda p: (p / "cat" / "notes.txt").write_text("x"),
            r"cat/notes\.txt: not a picture by its",
        ),
        (lambda p: (p / "lost.jpg").write_bytes(b"x"), r"lost\.jpg: a picture outside the class"),
        (lambda p: (p / "cat" / "00.jpg").write_bytes(b""), r"cat/00\.jpg: the file is empty"),
        (lambda p: (p / "cat" / "00.jpg").write_bytes(b"GIF"), r"cat/00\.jpg: not a picture that"),
        (
            lambda p: (p / "cat" / "00.jpg").write_bytes((p / "cat" / "00.jpg").read_bytes()[:700]),
            r"cat/00\.jpg: broken picture .*remove it or set on_invalid to skip",
        ),
    ],
)
def test_bad_input_gives_one_clear_line(make_folder: Make, damage, said: str) -> None:
    path = make_folder()
    damage(path)
    with pytest.raises(UserError, match=said) as caught:
        ready(ImageFolder(path=str(path), image_size=16))
    assert "\n" not in str(caught.value)


def test_wrong_folders_give_one_clear_line(tmp_path: Path, make_folder: Make) -> None:
    with pytest.raises(UserError, match="none does not exist"):
        ready(ImageFolder(path=str(tmp_path / "none")))
    (tmp_path / "void").mkdir()
    with pytest.raises(UserError, match="holds no pictures in class folders"):
        ready(ImageFolder(path=str(tmp_path / "void")))
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(UserError, match="neither a folder nor an archive"):
        ready(ImageFolder(path=str(tmp_path / "file.txt")))
    (tmp_path / "bad.tar.gz").write_bytes(b"x")
    with pytest.raises(UserError, match=r"bad\.tar\.gz is not a readable tar archive"):
        ready(ImageFolder(path=str(tmp_path / "bad.tar.gz")))
    make_folder("strange/train", "cat dog", 3)
    path = make_folder("strange/val", "cat emu", 2).parent
    with pytest.raises(UserError, match="the class 'emu', which the training data lacks"):
        ready(ImageFolder(path=str(path)))


def test_skipped_files_are_counted_and_nothing_else_is_lost(
    make_folder: Make, truncate, caplog
) -> None:
    path = make_folder()
    truncate(path / "cat" / "04.jpg")
    (path / "dog" / "notes.txt").write_text("x")
    module = ready(ImageFolder(path=str(path), image_size=16, on_invalid="skip"))
    assert len(module.train_set) + len(module.val_set) == 29
    assert "skipped 2 of 31 files" in caplog.text
    assert "04.jpg" in caplog.text
    assert "notes.txt" in caplog.text


def test_a_picture_that_breaks_later_leaves_its_batch_alone(make_folder: Make, caplog) -> None:
    path = make_folder()
    module = ready(
        ImageFolder(path=str(path), image_size=16, on_invalid="skip", val=0, batch_size=10)
    )
    (path / "cat" / "04.jpg").write_bytes(b"gone")
    sizes = [len(labels) for _, labels in module.train_dataloader()]
    assert sorted(sizes) == [9, 10, 10]
    assert "04.jpg" in caplog.text


def test_pictures_of_all_kinds_train_together(make_folder: Make) -> None:
    path = make_folder(count=4)
    grey = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    grey.save(path / "cat" / "grey.png")
    grey.convert("P").save(path / "cat" / "palette.gif")
    grey.convert("CMYK").save(path / "cat" / "cmyk.jpg")
    grey.convert("RGBA").save(path / "cat" / "alpha.png")
    Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16) * 257).save(
        path / "cat" / "deep.png"
    )
    for mode in ((0.5,), (0.5, 0.5, 0.5)):
        module = ImageFolder(
            path=str(path), image_size=16, val=0, batch_size=17, mean=mode, std=mode
        )
        module._model_cfg = lambda mode=mode: {"input_size": (len(mode), 16, 16)}
        images, _ = next(iter(ready(module).train_dataloader()))
        assert images.shape == (17, len(mode), 16, 16)


def test_archives_that_unpack_without_end_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.tar.gz"
    file.write_bytes(gzip.compress(bytes(3 << 20)))
    monkeypatch.setattr(packed, "MAX_UNPACKED", 1 << 20)
    with pytest.raises(UserError, match="unpacks to over .* bytes"):
        sources.open_source(file, tmp_path / "cache")
    assert not [left for left in (tmp_path / "cache").rglob("*") if left.is_file()]


def test_archives_that_name_what_is_outside_and_pipes_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("../up.png"))
    with pytest.raises(UserError, match="names '../up.png', which lies outside of it"):
        ready(ImageFolder(path=str(tmp_path / "a.tar")))
    for name in ("b.tar", "c.tar.gz"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(UserError, match="is a pipe or a device; give a tar archive"):
            ready(ImageFolder(path=str(tmp_path / name)))
