"""Learning curves of several runs."""

import json
from pathlib import Path

import pytest

from headway.core.cli.main import main
from headway.core.training.learning_curves import Curve, mean_curve


def write(run: Path, scores: list[float], *, name: str = "val_score", gap: int = 10) -> Path:
    run.mkdir(parents=True)
    rows = [f"{n},{gap * (n + 1)},{0.5 * (n + 1)},1.0,{score}" for n, score in enumerate(scores)]
    text = "\n".join([f"epoch,step,cpu_minutes,val_loss,{name}", *rows])
    (run / "metrics.csv").write_text(text + "\n")
    return run


def test_runs_of_a_recipe_share_a_mean(tmp_path: Path, capsys) -> None:
    for seed, last in ((1, 3.0), (2, 5.0), (10, 7.0)):
        write(tmp_path / "rl" / "one" / str(seed), [1.0, 2.0, last])
    other = write(tmp_path / "rl" / "two" / "1", [0.0, 1.0])
    out = tmp_path / "curves.png"
    words = ["curves", str(tmp_path / "rl" / "one"), str(other), "-o", str(out)]
    assert main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["metric"] == "val_score"
    assert said["runs"]["rl/one"] == {"number": 3, "mean": 5.0, "least": 3.0, "most": 7.0}
    assert said["runs"]["rl/two"]["mean"] == 1.0
    assert out.read_bytes()[:4] == b"\x89PNG"
    assert main(words) == 2  # nothing is overwritten
    capsys.readouterr()
    assert main([*words, "--overwrite", "--over", "cpu_minutes", "--metric", "val_loss"]) == 0
    assert "rl/one: val_loss 1 at the end (1 to 1) of 3 runs" in capsys.readouterr().out


def test_the_mean_goes_as_far_as_all_runs() -> None:
    one = Curve(Path("a"), [1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    two = Curve(Path("b"), [1.5, 2.5], [4.0, 6.0])
    places, values = mean_curve([one, two])
    assert places == [1.5, 2.0, 2.5]
    assert values == pytest.approx([2.75, 3.5, 4.25])


def test_what_is_missing_is_one_line(tmp_path: Path, capsys) -> None:
    run = write(tmp_path / "a" / "1", [1.0])
    other = write(tmp_path / "b" / "1", [1.0], name="val_accuracy")
    out = str(tmp_path / "x.png")

    def said(*words: str) -> str:
        assert main(["curves", *words, "-o", out]) == 2
        return capsys.readouterr().err

    assert "is no run: it has no metrics.csv" in said(str(tmp_path))
    assert "has no val_f1; it has epoch, step" in said(str(run), "--metric", "val_f1")
    assert "has no val_score" in said(str(run), str(other), "--metric", "val_score")
    (tmp_path / "c" / "1").mkdir(parents=True)
    (tmp_path / "c" / "1" / "metrics.csv").write_text("epoch,step,train_loss\n0,1,2.0\n")
    assert "share no validation metric" in said(str(run), str(tmp_path / "c" / "1"))
