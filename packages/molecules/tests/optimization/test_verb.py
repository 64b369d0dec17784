"""headway optimize: tables, summary, pictures, and runs that go on."""

import csv
import json
from pathlib import Path

import pytest

from headway.core.cli.main import main
from headway.core.weights import from_pretrained, save_pretrained
from headway.molecules.models import JointTransformer, Llama
from headway.molecules.optimization import PairTuned

OBJECTIVE = """
class_path: headway.molecules.scoring.ArithmeticMean
init_args:
  weights: [3, 1]
  scorers:
  - class_path: headway.molecules.scoring.AtomCount
    init_args:
      element: N
      transform: {class_path: headway.molecules.scoring.Clipped, init_args: {upper: 8}}
  - class_path: headway.molecules.scoring.Property
    init_args: {name: QED}
"""

KINDS = {"pairs": PairTuned, "joint": JointTransformer}


@pytest.fixture
def model(taught: Llama, tmp_path: Path) -> str:
    save_pretrained(taught, tmp_path / "prior")
    return str(tmp_path / "prior")


@pytest.fixture
def start(tmp_path: Path) -> str:
    path = tmp_path / "start.smi"
    path.write_text("CCCCCCN\nCCCCNCC\nc1ccccc1CC\nCCOCCN\nNCCCCO\nno molecule\n")
    return str(path)


def optimise(tmp_path: Path, *words: str) -> tuple[int, Path]:
    objective = tmp_path / "mine.yaml"
    objective.write_text(OBJECTIVE)
    out = tmp_path / "out"
    place = () if "--resume" in words else ("-o", str(out))
    code = main(["optimize", "--task", str(objective), "--device", "cpu", "--json", *place, *words])
    return code, out


@pytest.mark.parametrize("method", ["reinvent", "ppo", "pairs", "joint", "ga"])
def test_a_run_of_each_method(
    method: str, model: str, joint: JointTransformer, start: str, tmp_path: Path, capsys
) -> None:
    words = ["--method", method, "--budget", "60", "--samples", "30", "--batch-size", "16"]
    if method == "joint":
        save_pretrained(joint, model)
    words += ["--start", start] if method == "ga" else ["-m", model]
    code, out = optimise(tmp_path, *words)
    said = json.loads(capsys.readouterr().out)
    assert code == 0
    assert said["calls"] == 60
    best = list(csv.DictReader((out / "best.csv").open()))
    scores = [float(row["score"]) for row in best]
    assert scores == sorted(scores, reverse=True)
    for row in best[:3]:
        parts = 0.75 * float(row["part_1"]) + 0.25 * float(row["part_2"])
        assert float(row["score"]) == pytest.approx(parts, abs=1e-5)
        assert float(row["SA"]) > 0
    assert said["top_1"] == pytest.approx(scores[0], abs=1e-4)
    for name in ("best.png", "curve.png", "molecules.csv", "summary.json", "state.pt"):
        assert (out / name).is_file()
    assert json.loads((out / "summary.json").read_text())["auc_top_10"] == said["auc_top_10"]
    if method == "ga":
        assert said["written"] == {}
        assert not (out / "model").exists()
        return
    assert set(said["written"]) == {"before", "after"}
    loaded = from_pretrained(out / "model")
    assert isinstance(loaded, KINDS.get(method, Llama))


def test_a_longer_budget_goes_on_and_other_options_do_not(
    model: str, tmp_path: Path, capsys
) -> None:
    words = ["-m", model, "--samples", "0", "--batch-size", "16"]
    _, out = optimise(tmp_path, *words, "--budget", "40")
    first = (out / "molecules.csv").read_text()
    assert optimise(tmp_path, *words, "--budget", "70")[0] == 2  # nothing is overwritten
    again = [*words, "--resume", str(out)]
    assert optimise(tmp_path, *again, "--budget", "70", "--seed", "1")[0] == 2
    assert "of another run: seed 0, not 1" in capsys.readouterr().err
    assert optimise(tmp_path, *again, "--budget", "70")[0] == 0
    longer = (out / "molecules.csv").read_text()
    assert longer.startswith(first)
    assert json.loads((out / "summary.json").read_text())["calls"] == 70


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--task", "qedd", "--method", "ga"], "no task 'qedd'; did you mean 'qed'?"),
        (["--task", "qed"], "optimise with what?"),
        (["--task", "qed", "--method", "ga", "--sigma", "3"], "ga takes no sigma"),
        (["--task", "qed", "--method", "ga", "--budget", "0"], "--budget 0 is below 1"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(
    words: list[str], said: str, tmp_path: Path, start: str, taught: Llama, capsys
) -> None:
    out = tmp_path / "out"
    assert main(["optimize", *words, "--start", start, "-o", str(out)]) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()
    prior = ["-m", str(tmp_path / "prior"), "-o", str(out)]
    save_pretrained(taught, tmp_path / "prior")
    assert main(["optimize", "--task", "qed", "--start", start, *prior]) == 2
    assert "reinvent begins with its model" in capsys.readouterr().err
    assert main(["optimize", "--task", "qed", "--method", "ga"]) == 2
    assert "give -o DIR for a new run" in capsys.readouterr().err
