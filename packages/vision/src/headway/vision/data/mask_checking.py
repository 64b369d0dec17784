"""What pictures with masks are like, and what is wrong with them, before anybody trains on them."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headway.core.errors import InputError
from headway.vision.data.checking import Finding
from headway.vision.data.class_files import USUAL
from headway.vision.data.mask_classes import MaskClasses
from headway.vision.data.mask_layouts import MaskFolder, Pair, find_pairs
from headway.vision.data.mask_reading import MaskError, MaskReader, mask_reader, read_values
from headway.vision.data.masks import MaskedPicture, checked
from headway.vision.data.sources import read_file

REFUSED = ("unreadable picture", "missing mask", "unreadable mask", "unknown id", "size differs")
ODD = (
    "class never seen",
    "mask without picture",
    "same picture twice",
    "same picture in two splits",
)

Bar = Callable[[Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True, kw_only=True)
class MaskReport:
    """What was found out about pictures with masks.

    Args:
        path: Where they lie.
        reader: Reads its masks.
        named: Whether somebody did.
        pictures: What can be used of each split.
        pixels: Of each split the pixels of each class, and last those that do not count.
        with_class: Of each split the pictures that have a class.
        findings: What is wrong or odd.
    """

    path: Path
    reader: MaskReader
    named: bool
    pictures: dict[str, list[MaskedPicture]] = field(default_factory=dict)
    pixels: dict[str, np.ndarray] = field(default_factory=dict)
    with_class: dict[str, np.ndarray] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def classes(self) -> MaskClasses:
        """Names and ids; numbers where nobody named them."""
        return self.reader.classes

    def refused(self) -> list[Finding]:
        """Returns what training stops at, unless ``on_invalid`` is ``skip``."""
        return [one for one in self.findings if one.kind in REFUSED]

    def splits(self) -> list[dict[str, Any]]:
        """Returns a row of numbers for each split."""
        rows = []
        for split, found in self.pictures.items():
            sizes = Counter(one.size for one in found)
            pixels = self.pixels[split]
            rows.append(
                {
                    "split": split,
                    "pictures": len(found),
                    "sizes": len(sizes),
                    "pixels": int(pixels.sum()),
                    "ignored": _percent(pixels[-1], pixels.sum()),
                }
            )
        return rows

    def per_class(self) -> list[dict[str, Any]]:
        """Returns a row for each class: its share of the pixels that count and its pictures, by split."""
        rows = []
        for place, name in enumerate(self.classes.names):
            row: dict[str, Any] = {"class": name, "id": self.classes.ids[place]}
            for split, pixels in self.pixels.items():
                row[split] = _percent(pixels[place], pixels[:-1].sum())
                row[f"{split}_pictures"] = int(self.with_class[split][place])
            rows.append(row)
        return rows


def check_masks(
    path: Path,
    *,
    class_names: Sequence[str] | str | None = None,
    ignore: Sequence[int | str] | None = None,
    bar: Bar = lambda pairs: pairs,
) -> MaskReport:
    """Reads every mask and decodes every picture; leaves out what cannot be used, and says so.

    Args:
        path: As for ``SegmentationFolder``.
        class_names: The same; where nobody names them, the ids that are there are the classes.
        ignore: The same.
        bar: Is given the pairs, and yields them again as they are looked at.

    Raises:
        UserError: If there is no picture or no mask, or what is said of the classes cannot be used.
    """
    folder = find_pairs(path)
    names = class_names or next((str(path / n) for n in USUAL if (path / n).is_file()), None)
    reader = _seen(folder, ignore) if names is None else mask_reader(names, ignore)
    report = MaskReport(path=folder.path, reader=reader, named=names is not None)
    pairs = [(split, pair) for split, of_split in folder.parts.items() for pair in of_split]
    known: dict[str, tuple[str, Path]] = {}
    for split in folder.parts:
        report.pictures[split] = []
        report.pixels[split] = np.zeros(len(reader.classes) + 1, np.int64)
        report.with_class[split] = np.zeros(len(reader.classes), np.int64)
    for split, pair in bar(pairs):
        try:
            picture, labels = checked(pair, reader)
        except InputError as error:
            fault = error.fault if isinstance(error, MaskError) else "unreadable picture"
            report.findings.append(Finding(fault, error.name, error.reason))
            continue
        report.pictures[split].append(picture)
        # The last place is that of pixels that do not count.
        counts = np.bincount(
            labels.ravel() % (len(reader.classes) + 1), minlength=len(reader.classes) + 1
        )
        report.pixels[split] += counts
        report.with_class[split] += counts[:-1] > 0
        report.findings.extend(_twin(split, pair, known))
    report.findings.extend(_odd(folder, report))
    order = (*REFUSED, *ODD)
    report.findings.sort(key=lambda one: order.index(one.kind))
    return report


def _seen(folder: MaskFolder, ignore: Sequence[int | str] | None) -> MaskReader:
    """Returns a reader for which every id of the masks is a class, but those that are ignored."""
    left_out = [one for one in ignore or [255] if isinstance(one, int)]
    ids: set[int] = set()
    masks = [pair.mask for pairs in folder.parts.values() for pair in pairs]
    for mask in masks:
        try:
            if mask is None:
                continue
            values = read_values(mask)
        except InputError:
            continue
        if values.ndim == 2:
            ids.update(np.unique(values).tolist())
    known = sorted(ids - set(left_out)) or [0]
    return MaskReader(
        MaskClasses(
            names=tuple(str(one) for one in known), ids=tuple(known), ignore=tuple(left_out)
        )
    )


def _twin(split: str, pair: Pair, known: dict[str, tuple[str, Path]]) -> list[Finding]:
    """Finds a picture that is there already."""
    content = hashlib.sha256(read_file(pair.picture)).hexdigest()
    if content not in known:
        known[content] = split, pair.picture
        return []
    other_split, other = known[content]
    same = split == other_split
    kind = "same picture twice" if same else "same picture in two splits"
    where = "" if same else f" ({split} and {other_split})"
    return [Finding(kind, str(pair.picture), f"is the same file as {other}{where}")]


def _odd(folder: MaskFolder, report: MaskReport) -> list[Finding]:
    found = [
        Finding("mask without picture", str(mask), "no picture is called so")
        for mask in folder.lonely
    ]
    total = sum(report.with_class.values(), np.zeros(len(report.classes), np.int64))
    for place, name in enumerate(report.classes.names):
        if not total[place]:
            reason = f"no mask has its id, {report.classes.ids[place]}"
            found.append(Finding("class never seen", name, reason))
        elif not report.with_class["train"][place]:
            found.append(Finding("class never seen", name, "no mask of train has it"))
    return found


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / max(1, whole):.2f}%"
