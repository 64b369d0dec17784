"""What every verb does in the same way."""

import argparse
import json
from pathlib import Path

import pytest

from headway.core.cli.job import Job
from headway.core.cli.options import add_plot, add_shared_options, check_positive
from headway.core.errors import InputError, UserError


def parsed(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_plot(parser, "the rows")
    parser.add_argument("--count", type=int)
    parser.add_argument("--steps", type=int, nargs="+")
    add_shared_options(parser)
    return parser.parse_args([str(word) for word in words])


ROWS = [{"a": 1, "b": "x"}, {"a": 2}]


def test_a_table_goes_to_a_file_to_standard_output_or_into_the_json(tmp_path, capsys) -> None:
    out = tmp_path / "new" / "rows.csv"
    Job(parsed("-o", out), None).table(["a", "b"], ROWS)
    assert out.read_text() == "a,b\n1,x\n2,\n"
    Job(parsed(), None).table(["a", "b"], ROWS)
    assert capsys.readouterr().out == out.read_text()
    job = Job(parsed("--json"), None)
    job.table(["a", "b"], ROWS)
    job.end("rows", read=2)
    said = json.loads(capsys.readouterr().out)
    assert (said["out"], said["read"]) == (None, 2)
    assert said["rows"] == [{"a": "1", "b": "x"}, {"a": "2", "b": ""}]


def test_a_file_that_is_given_up_is_not_there(tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"

    def broken():
        yield ROWS[0]
        raise InputError("a.png", "broken")

    def fill(job: Job) -> None:
        with job.folder() as folder:
            (folder / "one.txt").write_text("x")
            raise InputError("a.png", "broken")

    with pytest.raises(InputError):
        Job(parsed("-o", out), None).table(["a", "b"], broken())
    with pytest.raises(InputError):
        fill(Job(parsed("-o", tmp_path / "all"), None))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        (["-o", "r.csv"], {"task": "predict with"}, "predict with what"),
        ([], {"out": "file"}, "-o takes the file"),
        (["-o", "-"], {"out": "folder"}, "-o takes the folder"),
        (["-o", "there"], {"out": "folder"}, "there is a file; -o takes a folder"),
        (["--plot", "there"], {"extra": ["plot"]}, "there exists; .* add --overwrite"),
    ],
)
def test_wrong_use_is_refused_before_any_work(
    words, options, message, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there").write_text("precious")
    with pytest.raises(UserError, match=message):
        Job(parsed(*words), options.pop("task", None), **options)


def test_inputs_that_were_left_out_are_named(capsys) -> None:
    job = Job(parsed("-o", "-"), None, items="pictures")
    assert job.end("predictions written") == 1
    job.counts.done, job.counts.ignored = 2, 1
    job.counts.refuse(InputError("a.png", "broken"), "skip")
    with job.counts.parts("skip") as invalid:
        invalid.add(InputError("b.csv, row 3", "empty"))
    capsys.readouterr()
    assert job.end(f"predictions written{job.place}") == 0
    assert capsys.readouterr().err.splitlines() == [
        "not read: a.png: broken",
        "not read: b.csv, row 3: empty",
        "2 predictions written, 2 pictures not read, 1 other files ignored",
    ]
    with pytest.raises(InputError, match="--on-invalid skip or keep"):
        job.counts.refuse(InputError("a.png", "broken"), "raise")


def test_a_plot_is_drawn_where_it_is_asked_for_and_once(tmp_path: Path) -> None:
    class Figure:
        def __init__(self, text: str) -> None:
            drawn.append(text)

        def savefig(self, file, **_) -> None:
            file.write(drawn[-1].encode())

    drawn: list[str] = []
    plot = tmp_path / "p.png"
    Job(parsed(), None).draw(Figure, "unseen")
    job = Job(parsed("--plot", plot), None)
    job.draw(Figure, "first")
    job.draw(Figure, "second")
    assert (drawn, plot.read_text()) == (["first"], "first")


def test_numbers_below_one_are_refused() -> None:
    check_positive(parsed("--count", 1, "--steps", 1, 2), "count", "steps")
    check_positive(parsed(), "count", "steps")
    for words in (["--count", 0], ["--steps", 3, 0]):
        with pytest.raises(UserError, match=f"{words[0]} 0 is below 1"):
            check_positive(parsed(*words), "count", "steps")
