"""A run that was killed and continued is the run that was not, bit for bit."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from headway.core.cli import main
from headway.core.testing.damage import damaged_json
from headway.core.training.metrics_file import read_metrics


def assert_same(one, two, path="checkpoint"):
    """Everything but the CPU time is equal, tensors bit for bit."""
    if isinstance(one, dict):
        assert one.keys() == two.keys(), path
        for key in one:
            if key != "cpu_minutes":
                assert_same(one[key], two[key], f"{path}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(two), path
        for place, (a, b) in enumerate(zip(one, two, strict=True)):
            assert_same(a, b, f"{path}/{place}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, two), path
    else:
        assert one == two, path


def load(run: Path) -> dict:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def fit(*words: object) -> None:
    """Runs in this process: nothing of a run depends on what a process did before."""
    assert main(["fit", *map(str, words)]) == 0


def fit_killed(*words: object, step: int) -> None:
    """Runs in a process of its own, which is killed at a step."""
    # No fork: autograd refuses to work in one where its parent has started threads.
    program = "import sys, torch; torch.set_num_threads(1); from headway.core.cli import main; main(sys.argv[1:])"
    found = {"PYTHONPATH": os.pathsep.join(sys.path), "HEADWAY_TOY_KILL": str(step)}
    command = [sys.executable, "-c", program, "fit", *map(str, words)]
    child = subprocess.run(command, env={**os.environ, **found}, check=False)
    assert child.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def unbroken(shared_recipe, tmp_path_factory):
    """A whole run, which nothing changes."""
    folder = tmp_path_factory.mktemp("whole")
    fit("-c", shared_recipe, "--runs", folder)
    return folder / "toy" / "1"


@pytest.fixture
def whole(unbroken, tmp_path):
    """A whole run of one's own."""
    return Path(shutil.copytree(unbroken, tmp_path / "whole"))


# 24 steps, 8 in an epoch: in the middle of the first and of a later epoch, and right after one.
@pytest.mark.parametrize(("step", "workers"), [(3, 0), (13, 2), (16, 0)])
def test_killed_run_continues_bitwise(unbroken, recipe, tmp_path, step, workers):
    words = ["--data.workers", workers, "--runs", tmp_path / "cut"]
    fit_killed("-c", recipe, *words, step=step)
    run = tmp_path / "cut" / "toy" / "1"
    fit("--resume", run)
    checkpoint = load(unbroken)
    assert checkpoint["global_step"] == 24
    assert checkpoint["average"]["updates"] == 24
    assert_same(checkpoint, load(run))
    expected, found = read_metrics(unbroken / "metrics.csv"), read_metrics(run / "metrics.csv")
    del expected["cpu_minutes"], found["cpu_minutes"]
    assert found == expected
    assert (run / "model" / "model.safetensors").read_bytes() == (
        unbroken / "model" / "model.safetensors"
    ).read_bytes()


def test_step_limit_and_accumulation_continue_bitwise(recipe, tmp_path):
    words = ["--trainer.max_epochs", "null", "--trainer.max_steps", "12"]
    words += ["--trainer.accumulate_grad_batches", "2"]
    fit("-c", recipe, *words, "--runs", tmp_path / "whole")
    fit_killed("-c", recipe, *words, "--runs", tmp_path / "cut", step=4)
    run = tmp_path / "cut" / "toy" / "1"
    assert load(run)["global_step"] < 12
    fit("--resume", run)
    assert_same(load(tmp_path / "whole" / "toy" / "1"), load(run))


def test_metrics_after_the_checkpoint_are_cut_and_not_doubled(whole):
    rows = (whole / "metrics.csv").read_text()
    with open(whole / "metrics.csv", "a") as file:
        file.write("3,30,9,9,9,9,9\n")
    fit("--resume", whole, "--trainer.max_epochs", 4)
    metrics = read_metrics(whole / "metrics.csv")
    assert metrics["epoch"] == [0, 1, 2, 3]
    assert metrics["step"] == [8, 16, 24, 32]
    assert (whole / "metrics.csv").read_text().startswith(rows)


def test_a_damaged_run_is_one_line_that_names_its_file(whole, capsys, monkeypatch):
    """Whatever in it is of another kind: Lightning, the optimiser and the callbacks read it each by itself."""
    monkeypatch.setenv("HEADWAY_TRACEBACK", "0")
    last, metrics = whole / "checkpoints" / "last.ckpt", whole / "metrics.csv"
    sound, rows, drawn = load(whole), metrics.read_bytes(), random.Random(0)
    last.unlink()  # best.ckpt may be the same file
    capsys.readouterr()
    for verb in (["fit", "--resume", whole, "--trainer.max_epochs", 4], ["validate", "-m", last]):
        codes = []
        for _ in range(15):
            torch.save(damaged_json(sound, drawn), last)
            codes.append(main(list(map(str, verb))))
            lines = [line for line in capsys.readouterr().err.splitlines() if "headway:" in line]
            assert len(lines) == (codes[-1] != 0)
            metrics.write_bytes(rows)
        assert set(codes) == {0, 2}
    torch.save(sound, last)
    metrics.write_bytes(rows.replace(b"step", b"steps", 1))
    assert main(["fit", "--resume", str(whole), "--trainer.max_epochs", "4"]) == 2
    assert "metrics.csv:2: is no row of metrics" in capsys.readouterr().err
