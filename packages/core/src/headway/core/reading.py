"""The one reader of text, JSON, YAML and tables: what is wrong with a file is one line that names it.

Every function raises ``InputError`` (a ``UserError``) with the file, the reason and the remedy, whatever the
bytes are: another encoding, a byte order mark, NUL, deep nesting, a pipe, a line without end. Nothing waits,
and nothing larger than its bound is taken into memory.
"""

import csv
import io
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import yaml

from headway.core.errors import InputError, one_line
from headway.core.packed import open_packed

MAX_BYTES = 2**30
"""Bytes of a text that is read as a whole."""

MAX_LINE = 2**24
"""Characters of a line, and of a cell of a table."""

MAX_VALUES = 10**6
"""Values of a YAML file, counted as often as they are referred to."""

DELIMITERS = ",;\t|"
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def check_path(path: str | os.PathLike[str]) -> None:
    """Raises if no file or folder can be called so; whether there is one is another question.

    Raises:
        InputError: If a part of it is too long, it holds a NUL, or links lead nowhere.
    """
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{str(path)!r:.80}", f"is the path of no file ({reason})") from None


def check_file(path: str | os.PathLike[str], what: str = "file") -> Path:
    """Returns the path of a plain file, which can be opened without waiting.

    Args:
        path: The file.
        what: What it is, for the message.

    Raises:
        InputError: If there is none, or it is a folder, a pipe or a device.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise InputError(str(path), f"there is no such {what}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(str(path), f"cannot be opened ({reason})") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise InputError(str(path), f"is {kind}; give a {what}")
    return Path(path)


def read_text(path: str | os.PathLike[str], what: str = "file", *, limit: int = MAX_BYTES) -> str:
    """Reads a text: UTF-8, with or without a byte order mark, or UTF-16 with one.

    Args:
        path: The file.
        what: What it is, for messages.
        limit: Most bytes.

    Raises:
        InputError: If it is missing, too large, in another encoding, or no text.
    """
    path = check_file(path, what)
    try:
        size = path.stat().st_size
        if size > limit:
            raise InputError(str(path), f"has {size:,} bytes; a {what} has at most {limit:,}")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror})") from None
    return _decoded(data, str(path))


def split_lines(text: str) -> list[str]:
    """Cuts a text where editors do; ``str.splitlines`` also cuts at characters that stand within a line."""
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")


def read_lines(path: str | os.PathLike[str], what: str = "file") -> Iterator[tuple[int, str]]:
    """Yields number (from 1) and text of each line, one at a time; packed files are unpacked on the way.

    Args:
        path: The file.
        what: What it is, for messages.

    Raises:
        InputError: As ``read_text`` does, and for a line of over ``MAX_LINE`` characters.
    """
    path = check_file(path, what)
    number = 0
    try:
        with _opened(path) as file:
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise InputError(
                        f"{path}:{number}", f"the line has over {MAX_LINE:,} characters"
                    )
                if "\0" in line:
                    raise InputError(f"{path}:{number}", "holds a NUL character; it is no text")
                yield number, line.rstrip("\r\n")
    except UnicodeError:
        raise InputError(f"{path}:{number + 1}", "is not UTF-8; save it as UTF-8") from None
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error})") from None


def parse_json(text: str, where: str, *, constants: bool = False) -> Any:
    """Returns what a JSON text holds.

    Args:
        text: The text.
        where: Named in messages.
        constants: Whether NaN and infinity, which are no JSON, become floats, for a caller that checks
            every number by itself.

    Raises:
        InputError: If it is no JSON, is nested too deeply, or has NaN or infinity in it.
    """

    def refuse(constant: str) -> None:
        raise InputError(where, f"holds {constant}, which is no number of JSON")

    try:
        return json.loads(text, parse_constant=float if constants else refuse)
    except InputError:
        raise
    except RecursionError:
        raise InputError(where, "is nested too deeply") from None
    except ValueError as error:
        raise InputError(where, f"is not JSON: {error}") from None


def read_json(
    path: str | os.PathLike[str],
    what: str = "file",
    *,
    expected: type = dict,
    constants: bool = False,
) -> Any:
    """Reads a JSON file.

    Args:
        path: The file.
        what: What it is, for messages.
        expected: ``dict``, ``list`` or ``object`` (anything).
        constants: As for ``parse_json``.

    Raises:
        InputError: If it cannot be read, is no JSON, or holds something else.
    """
    content = parse_json(read_text(path, what), str(path), constants=constants)
    if not isinstance(content, expected):
        wanted = {dict: "a mapping", list: "a list"}.get(expected, expected.__name__)
        raise InputError(str(path), f"must hold {wanted}, got {type(content).__name__}")
    return content


def read_yaml(path: str | os.PathLike[str], what: str = "file") -> Any:
    """Reads a YAML file; tags that would make objects are refused.

    Raises:
        InputError: If it cannot be read, is no YAML (the message has the line), or its references unfold to
            over ``MAX_VALUES`` values.
    """
    text = read_text(path, what)
    try:
        content = yaml.safe_load(text)
        values = _unfolded(content, {})
    except RecursionError:
        raise InputError(str(path), "is nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{path}{line}", f"is no YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(str(path), f"is no YAML: {one_line(error)}") from None
    if values > MAX_VALUES:
        raise InputError(
            str(path), f"unfolds to over {MAX_VALUES:,} values (its & and * repeat each other)"
        )
    return content


def read_table(
    path: str | os.PathLike[str],
    what: str = "table",
    *,
    delimiter: str | None = None,
    header: bool = True,
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yields line number and cells by column of each row; packed files are unpacked on the way.

    Args:
        path: Rows under a header; empty lines are left out.
        what: What it is, for messages.
        delimiter: What separates cells; the one of ``, ; tab |`` that the first row has most of if None.
        header: Whether the first row names the columns; they are called 1, 2, and so on otherwise.

    Raises:
        InputError: If the file cannot be read, has no header or a column twice, or a row has more
            cells than the header.
    """
    lines = read_lines(path, what)
    first = next(((number, line) for number, line in lines if line.strip()), None)
    if first is None:
        raise InputError(str(path), "is empty; it needs a header and rows")
    if delimiter is None:
        delimiter = max(DELIMITERS, key=first[1].count)
    last = first[0]

    def numbered() -> Iterator[str]:
        nonlocal last
        yield first[1] + "\n"
        for number, line in lines:
            last = number
            yield line + "\n"

    # The limit belongs to the process; cells longer than the standard 128 KiB are fine.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    rows = csv.reader(numbered(), delimiter=delimiter)
    try:
        top = next(rows)
        names = [name.strip() for name in top] if header else [str(k + 1) for k in range(len(top))]
        if not header:
            yield first[0], dict(zip(names, top, strict=True))
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InputError(str(path), f"has the column {twice!r} twice")
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) > len(names):
                raise InputError(
                    f"{path}:{last}", f"has {len(row)} cells under {len(names)} columns"
                )
            yield last, dict(zip(names, row, strict=False))
    except csv.Error as error:
        raise InputError(f"{path}:{last}", f"is no row of a table ({error})") from None


def _unfolded(value: Any, known: dict[int, float]) -> float:
    """Returns how many values there are if what is named once and used often is counted each time."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = float("inf")  # what holds itself
        inner = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_unfolded(one, known) for one in inner)
    return known[id(value)]


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    with open_packed(path) as data:
        yield io.TextIOWrapper(data, encoding=_encoding(data.peek(3)), newline=None)


def _encoding(start: bytes) -> str:
    return next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")


def _decoded(data: bytes, name: str) -> str:
    try:
        text = data.decode(_encoding(data[:3]))
    except UnicodeError as error:
        at = getattr(error, "start", 0)
        line = data.count(b"\n", 0, at) + 1
        raise InputError(f"{name}:{line}", "is not UTF-8; save it as UTF-8") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(f"{name}:{line}", "holds a NUL character; it is no text")
    return text
