"""Whatever the bytes of a file are: what it holds, or one line that names the file and the reason."""

import gzip
import os
import random
from contextlib import suppress

import pytest

from headway.core import reading
from headway.core.errors import InputError
from headway.core.reading import (
    check_file,
    parse_json,
    read_json,
    read_lines,
    read_table,
    read_text,
    read_yaml,
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_byte_order_marks_are_no_text(tmp_path, encoding):
    file = tmp_path / "a.csv"
    file.write_bytes("name,größe\nx,1\n".encode(encoding))
    assert read_text(file).startswith("name")
    assert [line for _, line in read_lines(file)] == ["name,größe", "x,1"]
    assert list(read_table(file)) == [(2, {"name": "x", "größe": "1"})]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_any_delimiter_and_packed_tables(tmp_path, delimiter):
    text = "\n".join(delimiter.join(row) for row in ("ab", "12", "", "34"))
    packed = tmp_path / "a.csv.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert list(read_table(packed)) == [(2, {"a": "1", "b": "2"}), (4, {"a": "3", "b": "4"})]


def test_long_cells_are_cells(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text(f"a,b\n{'C' * 200_000},1\n")
    [(_, row)] = read_table(file)
    assert len(row["a"]) == 200_000


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"name\nM\xfcller\n", r"a\.txt:2: is not UTF-8"),
        (b"name\nx\0y\n", r"a\.txt:2: holds a NUL"),
        (b"\xff\xfea", "is not UTF-8"),
    ],
)
def test_no_text(tmp_path, data, reason):
    file = tmp_path / "a.txt"
    file.write_bytes(data)
    for read in (
        read_text,
        read_json,
        read_yaml,
        lambda f: list(read_lines(f)),
        lambda f: list(read_table(f)),
    ):
        with pytest.raises(InputError) as error:
            read(file)
        if read in (read_text, read_json, read_yaml):
            assert error.match(reason)


def test_what_is_no_file_is_named_at_once(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, reason in [
        (pipe, "a pipe"),
        (tmp_path, "a folder"),
        (tmp_path / "none", "no such"),
        ("a\0b", "cannot be opened"),
        ("x" * 5000, "cannot be opened"),
    ]:
        with pytest.raises(InputError, match=reason):
            check_file(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a": NaN}', "holds NaN"),
        ('{"a": -Infinity}', "holds -Infinity"),
        ("{'a': 1}", "is not JSON"),
        ("9" * 5000, "is not JSON"),
        ("", "is not JSON"),
    ],
)
def test_no_json(text, reason):
    with pytest.raises(InputError, match=f"here: .*{reason}"):
        parse_json(text, "here")


def test_json_of_another_kind(tmp_path):
    file = tmp_path / "a.json"
    file.write_text("[1]")
    with pytest.raises(InputError, match="must hold a mapping, got list"):
        read_json(file)
    assert read_json(file, expected=list) == [1]


@pytest.mark.parametrize(
    "text", ["a: {", "a: !!python/object:os.system x", "[" * 5000, "a: [1\nb: 2"]
)
def test_no_yaml(tmp_path, text):
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=r"a\.yaml"):
        read_yaml(file)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "is empty"), ("a,a\n1,2\n", "'a' twice"), ("a,b\n1,2,3\n", r":2: has 3 cells under 2")],
)
def test_no_table(tmp_path, text, reason):
    file = tmp_path / "a.csv"
    file.write_text(text)
    with pytest.raises(InputError, match=reason):
        list(read_table(file))


def test_a_line_without_end_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_LINE", 1000)
    file = tmp_path / "a.gz"
    file.write_bytes(gzip.compress(b"x\n" + b"y" * 10_000))
    with pytest.raises(InputError, match=r"a\.gz:2: the line has over 1,000"):
        list(read_lines(file))
    with pytest.raises(InputError, match="has at most 10"):
        read_text(file, limit=10)


def test_a_packed_file_that_is_cut_off(tmp_path):
    file = tmp_path / "a.gz"
    file.write_bytes(gzip.compress(random.Random(0).randbytes(1000).hex().encode())[:-20])
    with pytest.raises(InputError, match=r"a\.gz"):
        list(read_lines(file))


@pytest.mark.parametrize("read", [read_text, read_json, read_yaml])
def test_any_bytes_are_read_or_named(tmp_path, read):
    draw = random.Random(0)
    file = tmp_path / "any"
    start = b'{"a": [1, 2, {"b": null}], "c": "d"}\n- x: 1\n'
    for _ in range(300):
        data = bytearray(start)
        for _ in range(draw.randint(1, 6)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        file.write_bytes(data)
        with suppress(InputError):  # anything else fails the test
            read(file)
