"""Values of preprocessing.json: of the right kind, or one line with file, key and value."""

import math
from pathlib import Path
from typing import Any

import pytest

from headway.core.errors import InputError
from headway.core.weights.preprocessing import note, read_preprocessing, reading_note


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("1.5", float),
        (True, float),
        (math.nan, float),
        (10**400, float),
        (1.0, int),
        (True, int),
        (3, str),
        ([], dict),
        ({}, list),
    ],
)
def test_a_value_of_another_kind_is_named(value: Any, kind: type) -> None:
    with pytest.raises(InputError, match=r"preprocessing.json of run/1: has key = .*, expected a "):
        note({"key": value}, "key", kind, "run/1")


def test_values_of_the_right_kind_come_back() -> None:
    notes = {"a": 1, "b": {"c": 2.5}, "d": None}
    assert note(notes, "a", float, "run") == 1
    assert note(notes, "b", dict, "run") == {"c": 2.5}
    assert note(notes, "d", str, "run") is None
    assert note(notes, "e", str, "run") is None


def test_what_cannot_be_made_of_a_value_is_one_line() -> None:
    said = r"preprocessing.json of run: size cannot be used: "
    with pytest.raises(InputError, match=said), reading_note("size", "run"):
        int("many")


@pytest.mark.parametrize("content", ["[1]", "3", "{", '{"a": NaN}', "[" * 100_000])
def test_a_file_without_a_mapping_is_one_line(content: str, tmp_path: Path) -> None:
    (tmp_path / "preprocessing.json").write_text(content)
    with pytest.raises(InputError, match=r"preprocessing.json"):
        read_preprocessing(tmp_path)
