"""Predicts the classes of pictures and writes a table."""

import argparse
import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from headway.core.errors import UserError
from headway.core.files import atomic_write
from headway.vision.data.preprocessing import Preprocessing
from headway.vision.data.reading import EXTENSIONS, ImageError, read_image
from headway.vision.data.sources import ARCHIVES, Source, open_source
from headway.vision.data.transforms import evaluation_transform
from headway.vision.verbs.loading import Classifier, load_classifier

Policy = Literal["raise", "skip", "keep"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway predict`` for pictures."""
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="PICTURES",
        help="pictures, folders (with subfolders), tar archives",
    )
    parser.add_argument("--batch-size", type=int, default=32, help="pictures of a batch (32)")
    parser.add_argument("--workers", type=int, default=0, help="processes that decode (0)")
    parser.add_argument("--top", type=int, default=5, help="how many classes to list (5)")


def run(args: argparse.Namespace) -> int:
    """Writes one row per picture; returns 1 if none could be read."""
    for name in ("batch_size", "top"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} {getattr(args, name)} is below 1")
    if args.checkpoint is None:
        raise UserError("predict with what? -m takes a run folder, a checkpoint or a hub id")
    out = None if args.out is None or str(args.out) == "-" else Path(args.out)
    items, ignored = find_items(args.inputs)
    classifier = load_classifier(args.checkpoint, args.device)
    counts = Counts(ignored=ignored)
    rows = predict(
        classifier,
        items,
        batch_size=args.batch_size,
        workers=args.workers,
        top=args.top,
        on_invalid=args.on_invalid,
        counts=counts,
    )
    if out is None:
        write_rows(sys.stdout, rows, args.top)
    else:
        with atomic_write(out, "w") as file:
            write_rows(file, rows, args.top)
    _report(counts, out, as_json=args.json)
    return 0 if counts.predicted else 1


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


@dataclass
class Counts:
    """What became of the inputs.

    Args:
        predicted: Pictures with a prediction.
        ignored: Files of folders that are no pictures by their extension.
        invalid: Pictures that could not be read.
    """

    predicted: int = 0
    ignored: int = 0
    invalid: list[ImageError] = field(default_factory=list)


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


def predict(
    classifier: Classifier,
    items: Sequence[Item],
    *,
    batch_size: int = 32,
    workers: int = 0,
    top: int = 5,
    on_invalid: Policy = "raise",
    counts: Counts | None = None,
) -> Iterator[dict[str, Any]]:
    """Yields one row per picture, in the order of the items.

    Args:
        classifier: The model.
        items: The pictures.
        batch_size: Pictures of a batch.
        workers: Processes that decode.
        top: How many classes a row lists.
        on_invalid: ``raise`` stops at a picture that cannot be read, ``skip`` leaves its row out,
            ``keep`` writes a row with the error.
        counts: Is told what became of each picture.
    """
    counts = counts or Counts()
    loader = DataLoader(
        _Pictures(items, classifier.preprocessing),
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=list,
    )
    start = 0
    for batch in _with_progress(loader):
        for found in batch:
            if isinstance(found, ImageError):
                if on_invalid == "raise":
                    raise ImageError(
                        found.name, f"{found.reason}; remove it or use --on-invalid skip or keep"
                    )
                counts.invalid.append(found)
        whole = [found for found in batch if isinstance(found, Tensor)]
        answers = iter(classifier.probabilities(torch.stack(whole)) if whole else ())
        shown_names = (item.shown for item in items[start : start + len(batch)])
        for shown, found in zip(shown_names, batch, strict=True):
            if isinstance(found, Tensor):
                counts.predicted += 1
                yield {"file": shown, **_ranked(classifier, next(answers), top)}
            elif on_invalid == "keep":
                yield {"file": shown, "error": found.reason}
        start += len(batch)


def columns(top: int) -> list[str]:
    """Returns the columns of the table."""
    ranked = [
        f"{name}_{rank}" for rank in range(2, top + 1) for name in ("prediction", "probability")
    ]
    return ["file", "prediction", "probability", *ranked, "error"]


def write_rows(file: IO[str], rows: Iterable[dict[str, Any]], top: int) -> None:
    """Writes the table as CSV."""
    writer = csv.DictWriter(file, columns(top), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _ranked(classifier: Classifier, probabilities: Tensor, top: int) -> dict[str, Any]:
    best = probabilities.topk(min(top, len(probabilities)))
    row: dict[str, Any] = {}
    ranks = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    for rank, (label, probability) in enumerate(ranks, start=1):
        ending = "" if rank == 1 else f"_{rank}"
        row[f"prediction{ending}"] = classifier.name(label)
        row[f"probability{ending}"] = f"{probability:.6f}"
    return row


def _report(counts: Counts, out: Path | None, *, as_json: bool) -> None:
    if as_json:
        content = {
            "out": None if out is None else str(out),
            "predicted": counts.predicted,
            "ignored": counts.ignored,
            "invalid": [{"file": e.name, "reason": e.reason} for e in counts.invalid],
        }
        print(json.dumps(content), file=sys.stderr if out is None else sys.stdout)
        return
    for error in counts.invalid:
        print(f"not read: {error}", file=sys.stderr)
    where = "" if out is None else f" to {out}"
    print(
        f"{counts.predicted} predictions written{where}, {len(counts.invalid)} pictures not read, "
        f"{counts.ignored} other files ignored",
        file=sys.stderr,
    )


class _Pictures(Dataset["Tensor | ImageError"]):
    """Tensors, or the error in the place of a picture that cannot be read."""

    def __init__(self, items: Sequence[Item], preprocessing: Preprocessing) -> None:
        self.items = items
        self.transform = evaluation_transform(preprocessing)
        self.mode: Literal["RGB", "L"] = "L" if preprocessing.input_size[0] == 1 else "RGB"

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Tensor | ImageError:
        item = self.items[index]
        try:
            image: Image.Image = read_image(item.source.read(item.name), item.shown, self.mode)
        except ImageError as error:
            return error
        except OSError as error:
            return ImageError(item.shown, error.strerror or str(error))
        return self.transform(image)


class _Files(Source):
    """Single files of a folder, without listing the folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names, self.folders = [], []

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def ends(self, name: str, size: int = 64) -> tuple[bytes, bytes]:
        data = self.read(name)
        return data[:size], data[-size:]


def _with_progress(loader: DataLoader[Any]) -> Iterable[Any]:
    # On stderr, so that a table on stdout stays clean; silent where nobody watches.
    console = Console(stderr=True)
    return track(
        loader,
        description="predicting",
        total=len(loader),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
