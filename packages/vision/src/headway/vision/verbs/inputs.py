"""Pictures that a verb is given: found, decoded in batches, and counted."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from headway.core.cli.counts import Counts, Policy
from headway.core.cli.options import add_batch_size
from headway.core.cli.progress import with_progress
from headway.core.errors import UserError
from headway.vision.data.preprocessing import Preprocessing
from headway.vision.data.reading import EXTENSIONS, ImageError, read_image
from headway.vision.data.sources import ARCHIVES, Source, file_ends, open_source, read_file
from headway.vision.data.transforms import evaluation_transform


@dataclass(frozen=True)
class Item:
    """A picture of a folder or an archive.

    Args:
        source: Where it lies.
        name: Its path in the source.
        shown: Its path for people.
    """

    source: Source
    name: str
    shown: str


def add_input_options(parser: argparse.ArgumentParser, *, batch_size: int) -> None:
    """Adds the pictures and how they are read.

    Args:
        parser: The parser of the verb.
        batch_size: Its default.
    """
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="PICTURES",
        help="pictures, folders (with subfolders), tar archives",
    )
    add_batch_size(parser, batch_size, "pictures")
    parser.add_argument("--workers", type=int, default=0, help="processes that decode (0)")


def find_items(inputs: Sequence[str]) -> tuple[list[Item], int]:
    """Returns the pictures below the inputs, and how many other files lay beside them.

    Raises:
        UserError: If an input is missing or there is no picture at all.
    """
    items: list[Item] = []
    ignored = 0
    for given in inputs:
        path = Path(given).expanduser()
        if path.is_file() and not path.name.endswith(ARCHIVES):
            items.append(Item(_Files(path.parent), path.name, given))
            continue
        if not path.exists():
            raise UserError(f"{given} does not exist; give pictures, folders or tar archives")
        source = open_source(path)
        pictures = [
            name for name in source.names if PurePosixPath(name).suffix.lower() in EXTENSIONS
        ]
        ignored += len(source.names) - len(pictures)
        items += [Item(source, name, f"{given.rstrip('/')}/{name}") for name in pictures]
    if not items:
        raise UserError(
            f"no pictures in {', '.join(inputs)}; known extensions: {', '.join(EXTENSIONS)}"
        )
    return items, ignored


def read_item(
    item: Item,
    mode: Literal["RGB", "L"] = "RGB",
    *,
    size: tuple[int, int] | None = None,
    bits: int = 8,
) -> Image.Image | ImageError:
    """Decodes a picture as ``read_image`` does, or returns the error in the place of one that is broken."""
    try:
        return read_image(item.source.read(item.name), item.shown, mode, size=size, bits=bits)
    except ImageError as error:
        return ImageError(item.shown, error.reason)


def free_name(name: str, taken: set[str]) -> str:
    """Returns a name for the picture that is made of an input, and takes it.

    Names of archives may hold anything; the result leads nowhere outside a folder.

    Args:
        name: Path of the input in its source.
        taken: Names that were given before.
    """
    parts = [part for part in PurePosixPath(name).parts if part not in ("/", "..")]
    stem = PurePosixPath(*parts).with_suffix("").as_posix()
    free, number = f"{stem}.png", 2
    while free in taken:
        free, number = f"{stem}_{number}.png", number + 1
    taken.add(free)
    return free


Found = list[tuple[Item, Tensor | ImageError]]


def read_batches(
    items: Sequence[Item],
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    workers: int,
    on_invalid: Policy,
    counts: Counts,
    doing: str,
) -> Iterator[Found]:
    """Yields the pictures as the model wants them, or the error in place of one, in their order.

    Args:
        items: The pictures.
        preprocessing: What they go through.
        batch_size: Pictures of a batch.
        workers: Processes that decode.
        on_invalid: ``raise`` stops at a picture that cannot be read; the others yield its error.
        counts: Is told what cannot be read.
        doing: One word beside the progress bar.
    """
    loader = DataLoader(
        _Pictures(items, preprocessing),
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=list,
    )
    start = 0
    for batch in with_progress(loader, doing):
        for found in batch:
            if isinstance(found, ImageError):
                counts.refuse(found, on_invalid)
        yield list(zip(items[start : start + len(batch)], batch, strict=True))
        start += len(batch)


def stack(batch: Found) -> Tensor | None:
    """Returns the pictures of a batch that could be read, or None if there are none."""
    whole = [found for _, found in batch if isinstance(found, Tensor)]
    return torch.stack(whole) if whole else None


class _Pictures(Dataset["Tensor | ImageError"]):
    """Tensors, or the error in the place of a picture that cannot be read."""

    def __init__(self, items: Sequence[Item], preprocessing: Preprocessing) -> None:
        self.items = items
        self.transform = evaluation_transform(preprocessing)
        self.bits = preprocessing.bits
        self.mode: Literal["RGB", "L"] = "L" if preprocessing.input_size[0] == 1 else "RGB"

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Tensor | ImageError:
        image = read_item(self.items[index], self.mode, bits=self.bits)
        if isinstance(image, ImageError):
            return image
        try:
            return self.transform(image)
        except ImageError as error:
            return ImageError(self.items[index].shown, error.reason)


class _Files(Source):
    """Single files of a folder, without listing the folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names, self.folders = [], []

    def read(self, name: str) -> bytes:
        return read_file(self.path / name)

    def ends(self, name: str, size: int = 64) -> tuple[bytes, bytes]:
        return file_ends(self.path / name, size)
