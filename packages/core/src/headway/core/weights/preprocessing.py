"""What stands beside the weights of a model: classes, scalers, tokenizers, statistics."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headway.core.errors import InputError, UserError, one_line
from headway.core.reading import read_json

KINDS = {
    bool: "true or false",
    dict: "a mapping",
    list: "a list",
    tuple: "a list",
    str: "a text",
    float: "a number",
    int: "a whole number",
}
"""What the values of JSON are called in messages."""


def read_preprocessing(source: str | Path) -> dict[str, Any]:
    """Reads ``preprocessing.json`` beside a model; empty if it has none.

    Args:
        source: A run folder, a file in its ``checkpoints``, or a directory of a model.

    Raises:
        UserError: If the file is not JSON, or holds no mapping.
    """
    source = Path(source)
    folder = source if source.is_dir() else source.parent
    for place in (folder / "model", folder, folder.parent / "model"):
        file = place / "preprocessing.json"
        if file.is_file():
            return read_json(file)
    return {}


def note(notes: Mapping[str, Any], key: str, kind: type, source: str | Path) -> Any:
    """Returns a value of ``preprocessing.json``, None if it is not there or null.

    Args:
        notes: What ``read_preprocessing`` returned, or a mapping in it.
        key: The key.
        kind: ``dict``, ``list``, ``str``, ``float`` (any finite number) or ``int``.
        source: The model, for the message.

    Raises:
        InputError: If the value is of another kind, or not finite; the message has file, key and value.
    """
    value = notes.get(key)
    if value is None:
        return None
    kinds = (int, float) if kind is float else (kind,)
    # A truth value is a whole number to Python.
    fits = isinstance(value, kinds) and not isinstance(value, bool)
    if fits and isinstance(value, int | float):
        fits = abs(value) < 1e300 and math.isfinite(value)
    if not fits:
        raise InputError(
            f"preprocessing.json of {source}", f"has {key} = {value!r:.80}, expected {KINDS[kind]}"
        )
    return value


@contextmanager
def reading_note(key: str, source: str | Path) -> Iterator[None]:
    """Names file and key in what goes wrong while an object is made of a value of the file.

    Raises:
        InputError: If the block raises anything.
    """
    try:
        yield
    except (UserError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = one_line(error)
        raise InputError(
            f"preprocessing.json of {source}", f"{key} cannot be used: {reason}"
        ) from None
