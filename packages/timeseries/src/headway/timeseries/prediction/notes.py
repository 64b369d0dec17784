"""What ``preprocessing.json`` says, checked: a file that was edited or damaged is refused by its key."""

from collections.abc import Callable
from typing import Any

import numpy as np

from headway.core.errors import UserError
from headway.timeseries.data.steps import parse_step


def read_notes(source: str) -> dict[str, Any]:
    """Returns the contents of the ``preprocessing.json`` of a model; empty if it has none.

    Raises:
        UserError: If a key holds what it cannot mean; it is named.
    """
    from headway.core.weights import read_preprocessing

    return check_notes(read_preprocessing(source), source)


def check_notes(notes: Any, source: str) -> dict[str, Any]:
    """Returns the notes of a model.

    Raises:
        UserError: If a key holds what it cannot mean; it is named.
    """
    where = f"preprocessing.json of {source}"
    if not isinstance(notes, dict):
        raise UserError(
            f"{where} is a {type(notes).__name__}, expected an object of keys and values"
        )
    for key, (right, meaning) in _KEYS.items():
        if key in notes and not right(notes[key]):
            raise UserError(f"{where}: {key} is {_short(notes[key])}, expected {meaning}")
    covariates = notes.get("covariates", {})
    scalers = [("", notes)]
    scalers += [(f"covariates.{k} ", covariates[k]) for k in _COVARIATES if k in covariates]
    for name, scaler in scalers:
        if "mean" not in scaler and "std" not in scaler:
            continue
        sizes = [len(scaler.get(key, ())) for key in ("names", "mean", "std")]
        if len(set(sizes)) > 1:
            raise UserError(
                f"{where}: {name}names, mean and std have {sizes} entries, expected as many of each"
            )
    if ("low" in notes) != ("high" in notes) or len(notes.get("low", ())) != len(
        notes.get("high", ())
    ):
        raise UserError(f"{where}: low and high differ in length")
    return notes


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _number(value: Any) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
    )


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_number, value))


def _positive(value: Any) -> bool:
    return _numbers(value) and all(one > 0 for one in value)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _word(value: Any) -> bool:
    return isinstance(value, str)


def _words(value: Any) -> bool:
    return isinstance(value, list) and all(map(_word, value))


def _truth(value: Any) -> bool:
    return isinstance(value, bool)


def _step(value: Any) -> bool:
    try:
        parse_step(value)
    except UserError:
        return False
    return True


def _or_none(right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or right(value)


_COVARIATES = ("historical", "future", "static")


def _scaler(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _words(value.get("names"))
        and _numbers(value.get("mean"))
        and _positive(value.get("std"))
    )


def _covariates(value: Any) -> bool:
    if not isinstance(value, dict) or not set(value) <= {"columns", "words", *_COVARIATES}:
        return False
    columns, words = value.get("columns", {}), value.get("words")
    words = {} if words is None else words
    return (
        isinstance(columns, dict)
        and isinstance(words, dict)
        and set(columns) <= set(_COVARIATES)
        and all(map(_words, columns.values()))
        and all(map(_words, words.values()))
        and all(kind in value for kind, names in columns.items() if names)
        and all(_scaler(value[kind]) for kind in _COVARIATES if kind in value)
    )


def _radii(value: Any, percents: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == percents
        and all(
            isinstance(row, list)
            and len(row) == len(value[0])
            and all(r is None or (_number(r) and r >= 0) for r in row)
            for row in value
        )
    )


def _conformal(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("series"), dict):
        return False
    percents: Any = value.get("percents")
    if not _positive(percents) or percents != sorted(percents) or not percents:
        return False
    rows = [value.get("all"), *value["series"].values()]
    return (
        _number(value.get("windows"))
        and all(_radii(row, len(percents)) for row in rows)
        and len({len(row[0]) for row in rows}) == 1
    )


_KEYS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "names": (_words, "a list of names"),
    "mean": (_numbers, "a list of finite numbers"),
    "std": (_positive, "a list of finite numbers above 0"),
    "low": (_numbers, "a list of finite numbers"),
    "high": (_numbers, "a list of finite numbers"),
    "step": (_or_none(_step), "a step of time such as h or D, or a whole number"),
    "context_length": (_count, "a number of steps"),
    "horizon": (_count, "a number of steps"),
    "length": (_count, "a number of steps"),
    "marks": (_truth, "true or false"),
    "panel": (_truth, "true or false"),
    "targets": (_or_none(_words), "a list of names, or null"),
    "classes": (_words, "a list of names"),
    "labels": (_or_none(_word), "a name, or null"),
    "threshold": (_or_none(_number), "a finite number, or null"),
    "task": (_word, "the name of a task"),
    "covariates": (_covariates, "columns, words and scalers of covariates"),
    "conformal": (_conformal, "percents, and half widths of all and of each series"),
}
