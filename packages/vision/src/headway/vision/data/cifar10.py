"""CIFAR-10 from class folders, archives of them, or the original batches."""

import io
import pickle
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from headway.core.errors import UserError
from headway.core.training import Passed
from headway.core.training.invalid import InvalidItems, OnInvalid
from headway.core.unpickling import ArraysOnly
from headway.vision.data.arrays import LabelledArrays
from headway.vision.data.cache import cache_entry, fingerprint
from headway.vision.data.class_folders import check_classes, find_images, find_root
from headway.vision.data.decoding import decode
from headway.vision.data.in_memory import InMemoryImages, InMemoryOptions
from headway.vision.data.reading import ImageError
from headway.vision.data.sources import ARCHIVES, Source, open_source

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
SIZE = 32


class CIFAR10(InMemoryImages):
    """60,000 colour pictures of 32x32 pixels, 10 classes, 10,000 of them the test split.

    The pictures are decoded once and then read from a cache in well under a second.

    Args:
        path: A folder with ``train`` and ``test``, each a folder of class folders or a ``.tar``,
            ``.tar.gz`` or ``.tgz`` of them; or the original ``cifar-10-python.tar.gz`` or
            ``cifar-10-binary.tar.gz``, packed or unpacked.
        batch_size: Pictures of a batch.
        val: Share or number of the training pictures that validate instead.
        on_invalid: What happens to pictures that cannot be read.
        cache: Folder of the decoded pictures; by default the user's cache.
        **images: As of every ``InMemoryImages``: augment, split_seed, validate_on_test, mean, std, and of
            every ``DataModule``.

    Source:
        Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html.
    """

    def __init__(
        self,
        *,
        path: str,
        batch_size: int = 128,
        val: int | float = 5000,
        on_invalid: OnInvalid = "raise",
        cache: str | None = None,
        **images: Passed[InMemoryOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, val=val, **images)
        InvalidItems(on_invalid)
        self.path = path
        self.on_invalid: OnInvalid = on_invalid
        self.cache = Path(cache) if cache else None

    def load(self) -> tuple[LabelledArrays, LabelledArrays]:
        """Reads the cache, or decodes the pictures and fills it."""
        path = Path(self.path).expanduser()
        if not path.exists():
            raise UserError(
                f"{path} does not exist; path is a folder with train and test (folders or tar.gz of "
                "class folders) or cifar-10-python.tar.gz of https://www.cs.toronto.edu/~kriz/cifar.html"
            )
        parts = {split: _part(path, split) for split in ("train", "test")}
        found = {split: part for split, part in parts.items() if part is not None}
        if len(found) == 2:
            train = self._decoded(found["train"], None)
            return train, self._decoded(found["test"], train.classes)
        batches = _original(open_source(path, self.cache))
        if batches is None:
            raise UserError(
                f"{path} holds neither train and test (folders or {', '.join(ARCHIVES)} of class "
                "folders) nor data_batch_1 and its like"
            )
        return batches

    def _decoded(self, path: Path, classes: tuple[str, ...] | None) -> LabelledArrays:
        key = fingerprint(*_stamps(path), size=SIZE, classes=classes, policy=self.on_invalid)
        entry = cache_entry(f"cifar10-{path.name.split('.')[0]}-{key}.safetensors", self.cache)
        invalid = InvalidItems(self.on_invalid)
        if entry.exists():
            arrays = LabelledArrays.load(entry)
            for name, reason in arrays.skipped:
                invalid.add(ImageError(name, reason))
        else:
            source = open_source(path, self.cache)
            pictures = find_images(source, find_root(source), invalid, classes)
            if classes is None:
                check_classes(pictures)
            arrays = decode(pictures, size=SIZE, channels=3, invalid=invalid)
            arrays.save(entry)
        invalid.log(len(arrays) + len(invalid.errors))
        return arrays


def _part(path: Path, split: str) -> Path | None:
    for name in (split, *(split + ending for ending in ARCHIVES)):
        if (path / name).exists():
            return path / name
    return None


def _stamps(path: Path) -> list[Path]:
    # A file that is replaced changes neither its folder's size nor its time.
    return [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]


def _original(source: Source) -> tuple[LabelledArrays, LabelledArrays] | None:
    """Reads the python or binary batches, or returns None if there are none."""
    parts: dict[str, list[tuple[Any, Any]]] = {"train": [], "test": []}
    for name in source.names:
        base = PurePosixPath(name).name
        split = {"data_batch": "train", "test_batch": "test"}.get(base[:10])
        if split:
            parts[split].append(_batch(source.read(name), f"{source.path}/{name}"))
    if not parts["train"] or not parts["test"]:
        return None
    train, test = (
        LabelledArrays(
            images=torch.from_numpy(np.concatenate([images for images, _ in part])),
            labels=torch.from_numpy(np.concatenate([labels for _, labels in part])),
            classes=CLASSES,
        )
        for part in parts.values()
    )
    return train, test


def _batch(data: bytes, name: str) -> tuple[Any, Any]:
    try:
        if name.endswith(".bin"):
            records = np.frombuffer(data, np.uint8).reshape(-1, 1 + 3 * SIZE * SIZE)
            labels, pixels = records[:, 0], records[:, 1:]
        else:
            content = ArraysOnly(io.BytesIO(data), encoding="bytes").load()
            labels, pixels = content[b"labels"], content[b"data"]
        images = np.array(pixels, dtype=np.uint8).reshape(-1, 3, SIZE, SIZE)
        return images, np.array(labels, dtype=np.int64)
    except (pickle.UnpicklingError, KeyError, ValueError, EOFError) as error:
        raise UserError(
            f"{name} is not a CIFAR-10 batch ({error}); fetch the archive again"
        ) from None
