"""Labelled series from files of the UCR and UEA archives (``.ts``)."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import InputError
from headway.core.reading import read_text, split_lines
from headway.core.training.invalid import InvalidItems

MISSING = ("?", "nan")


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledSeries:
    """Series of one kind, each with a class.

    Args:
        name: Of the file.
        problem: What the file calls itself.
        classes: Names of the classes, in the order of the file; empty if it has none.
        series: One array for each case, NaN where a value is missing.
        labels: Place of the class of each case; empty if the file has none.
        lines: Line of the file of each case.

    Shape:
        series: (T, features) each.
    """

    name: str
    problem: str
    classes: tuple[str, ...]
    series: list[NDArray[np.float64]]
    labels: NDArray[np.int64]
    lines: list[int]

    @property
    def features(self) -> int:
        """Values of a step."""
        return self.series[0].shape[1]


@dataclass
class _Header:
    """What the lines with ``@`` say; None where they do not."""

    problem: str = ""
    univariate: bool | None = None
    dimensions: int | None = None
    equal_length: bool | None = None
    length: int | None = None
    classes: tuple[str, ...] | None = None
    known: set[str] = field(default_factory=set)


def read_ts(path: str | Path, invalid: InvalidItems | None = None) -> LabelledSeries:
    """Reads a ``.ts`` file: what it says about itself, and one case in each line.

    The channels of a case are separated by ``:``, their values by ``,``; the class stands at the end. ``?``
    is a missing value.

    Args:
        path: The file.
        invalid: What happens to a case that is not as the header says; the first one raises if None.

    Raises:
        InputError: If the file is none, has stamps or numbers in the place of classes, or no usable case; it
            names the line.
    """
    name = str(path)
    text = read_text(path, ".ts file")
    lines = [(number, line.strip()) for number, line in enumerate(split_lines(text), start=1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    header, rest = _read_header(lines, name)
    invalid = invalid if invalid is not None else InvalidItems("raise", "cases")
    series, labels, places = [], [], []
    for number, line in rest:
        try:
            values, label = _read_case(line, header)
        except ValueError as error:
            invalid.add(InputError(f"{name}, line {number}", str(error)))
            continue
        if header.dimensions is None:
            header.dimensions = values.shape[1]
        if header.equal_length and header.length is None:
            header.length = len(values)
        series.append(values)
        places.append(number)
        if label is not None:
            labels.append(label)
    if not series:
        raise InputError(name, "has no case that can be read behind @data")
    return LabelledSeries(
        name=name,
        problem=header.problem,
        classes=header.classes or (),
        series=series,
        labels=np.array(labels, dtype=np.int64),
        lines=places,
    )


def _read_header(lines: list[tuple[int, str]], name: str) -> tuple[_Header, list[tuple[int, str]]]:
    header = _Header()
    for place, (number, line) in enumerate(lines):
        if not line.startswith("@"):
            raise InputError(
                name, f"line {number} is no line of a .ts header: it begins with @ or #"
            )
        key, _, value = line[1:].partition(" ")
        key, words = key.lower(), value.split()
        if key == "data":
            return header, lines[place + 1 :]
        if key in header.known:
            raise InputError(name, f"line {number}: @{key} stands in the header twice")
        header.known.add(key)
        try:
            _take(header, key, words)
        except ValueError as error:
            raise InputError(name, f"line {number}: {error}") from None
    raise InputError(name, "is no .ts file: it has no line @data")


def _take(header: _Header, key: str, words: list[str]) -> None:
    if key == "problemname":
        header.problem = " ".join(words)
    elif key in ("univariate", "equallength"):
        setattr(header, {"equallength": "equal_length"}.get(key, key), _truth(key, words))
    elif key in ("dimensions", "dimension"):
        header.dimensions = _number(key, words)
    elif key == "serieslength":
        header.length = _number(key, words)
    elif key == "timestamps":
        if _truth(key, words):
            raise ValueError("series with time stamps are not read; write their values alone")
    elif key == "targetlabel":
        if _truth(key, words):
            raise ValueError("@targetLabel is for numbers; a classifier needs @classLabel")
    elif key == "classlabel":
        if not _truth(key, words):
            return
        header.classes = tuple(words[1:])
        if not header.classes or len(set(header.classes)) < len(header.classes):
            raise ValueError(f"@classLabel names the classes once each, got {words[1:]}")
    elif key != "missing":
        raise ValueError(f"@{key} is unknown")


def _truth(key: str, words: list[str]) -> bool:
    if not words or words[0].lower() not in ("true", "false"):
        raise ValueError(f"@{key} is true or false, got {' '.join(words) or 'nothing'}")
    return words[0].lower() == "true"


def _number(key: str, words: list[str]) -> int:
    if len(words) != 1 or not _counts(words[0]):
        raise ValueError(f"@{key} is a number of at least 1, got {' '.join(words) or 'nothing'}")
    return int(words[0])


def _counts(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 10 and int(word) >= 1


def _read_case(line: str, header: _Header) -> tuple[NDArray[np.float64], int | None]:
    parts: Any = line.split(":")
    label = None
    if header.classes is not None:
        *parts, named = parts
        if named.strip() not in header.classes:
            raise ValueError(
                f"the class {named.strip()[:40]!r} is none of {', '.join(header.classes[:10])}"
            )
        label = header.classes.index(named.strip())
    if not parts:
        raise ValueError("there is a class and no values")
    channels = [_values(part, place) for place, part in enumerate(parts, start=1)]
    lengths = sorted({len(channel) for channel in channels})
    if len(lengths) > 1:
        raise ValueError(
            f"the channels have different lengths, {lengths[0]} to {lengths[-1]} steps"
        )
    wanted = 1 if header.univariate else header.dimensions
    if wanted is not None and len(channels) != wanted:
        raise ValueError(f"has {len(channels)} channels, expected {wanted}")
    if header.equal_length and header.length not in (None, lengths[0]):
        raise ValueError(f"has {lengths[0]} steps, expected {header.length}")
    values = np.stack(channels, axis=1)
    if np.isnan(values).all():
        raise ValueError("has no known value")
    return values, label


def _values(part: str, channel: int) -> NDArray[np.float64]:
    found = np.empty(part.count(",") + 1)
    for step, text in enumerate(part.split(",")):
        word = text.strip()
        if word.lower() in MISSING:
            found[step] = np.nan
            continue
        try:
            found[step] = float(word)
        except ValueError:
            raise ValueError(
                f"{word[:40]!r} in channel {channel}, step {step + 1}, is no number; ? is missing"
            ) from None
        if np.isinf(found[step]):
            raise ValueError(f"channel {channel}, step {step + 1}, is infinite")
    return found
