"""A recipe that is no recipe is one line and exit 2; what a kill left goes when a run is continued."""

import os
from pathlib import Path

import pytest

from headway.core.cli.main import main
from headway.core.files import remove_leftovers

BROKEN = {
    "another encoding": (b"name: caf\xe9\n", "not UTF-8"),
    "NUL": (b"name: a\0b\n", "NUL"),
    "deep lists": (b"a: " + b"[" * 5000, "nested too deeply"),
    "deep mappings": (b"{a: " * 5000, "nested too deeply"),
    "a list": (b"- 1\n- 2\n", "mapping"),
    "a word": (b"word\n", "mapping"),
    "nothing": (b"", "mapping"),
    "a number as key": (b"1: 2\n", "keys are words"),
    "references that unfold": (
        b"a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        + b"".join(
            b"%s: &%s [%s]\n" % (two, two, b", ".join([b"*" + one] * 9))
            for one, two in zip(
                [b"a", b"b", b"c", b"d", b"e", b"f"],
                [b"b", b"c", b"d", b"e", b"f", b"g"],
                strict=True,
            )
        ),
        "unfolds to over 1,000,000 values",
    ),
    "itself inside": (b"data: &a\n  init_args: *a\n", "unfolds to over"),
    "no YAML": (b"a: [1\nb: {", "no YAML"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("verb", ["fit -c", "fit --resume", "validate -m"])
def test_a_broken_recipe_is_one_line(name: str, verb: str, tmp_path: Path, capsys) -> None:
    content, reason = BROKEN[name]
    (tmp_path / "config.yaml").write_bytes(content)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").touch()
    source = tmp_path / "config.yaml" if verb == "fit -c" else tmp_path
    assert main([*verb.split(), str(source)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert reason in lines[0]
    assert "config.yaml" in lines[0]


def test_a_pipe_as_recipe_is_not_waited_for(tmp_path: Path, capsys) -> None:
    os.mkfifo(tmp_path / "recipe.yaml")
    assert main(["fit", "-c", str(tmp_path / "recipe.yaml")]) == 2
    assert "pipe" in capsys.readouterr().err


def test_leftovers_go_and_files_of_running_processes_stay(tmp_path: Path) -> None:
    ended = 2**22 + 1  # beyond the largest id of a process
    folder = tmp_path / "model" / ".abc.part"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").touch()
    old = tmp_path / f".last.ckpt.{ended}.part"
    running = tmp_path / f".last.ckpt.{os.getppid()}.part"
    kept = tmp_path / "notes.part"
    for file in (old, running, kept):
        file.touch()
    remove_leftovers(tmp_path)
    assert sorted(tmp_path.rglob("*.part")) == sorted([running, kept])
