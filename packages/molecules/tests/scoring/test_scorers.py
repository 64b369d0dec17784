"""Scores from 0 to 1: transforms, parts, means, objectives in YAML, and the count of calls."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from headway.core.errors import UserError
from headway.core.language import SPECIALS
from headway.core.weights import build, describe, save_pretrained
from headway.molecules.models import Llama, PropertyPredictor
from headway.molecules.notation import SmilesTokenizer
from headway.molecules.scoring import (
    ArithmeticMean,
    AtomCount,
    Clipped,
    Contains,
    DoubleSigmoid,
    Function,
    Gaussian,
    GeometricMean,
    Isomers,
    MaxGaussian,
    MinGaussian,
    NoAlerts,
    Oracle,
    Predicted,
    Property,
    ReverseSigmoid,
    Scorer,
    Sigmoid,
    Similarity,
    Step,
    read_objective,
    task,
)
from headway.molecules.shipped import has_moses

ASPIRIN, ETHANOL = "CC(=O)Oc1ccccc1C(=O)O", "CCO"


@pytest.mark.parametrize(
    ("transform", "wanted"),
    [
        (Sigmoid(low=0, high=2), {0: 0.0532, 1: 0.5, 2: 0.9468, 1e9: 1, -1e9: 0}),
        (ReverseSigmoid(low=0, high=2), {0: 0.9468, 1: 0.5, 2: 0.0532}),
        (DoubleSigmoid(low=0, high=10), {-9: 0, 0: 0.5, 5: 1, 10: 0.5, 19: 0}),
        (Step(low=1, high=2), {0.9: 0, 1: 1, 2: 1, 2.1: 0}),
        (Step(high=2), {-1e9: 1, 3: 0}),
        (Gaussian(mean=1, deviation=2), {1: 1, 3: 0.6065, -1: 0.6065}),
        (MinGaussian(mean=1, deviation=2), {-5: 1, 1: 1, 3: 0.6065}),
        (MaxGaussian(mean=1, deviation=2), {5: 1, 1: 1, -1: 0.6065}),
        (Clipped(upper=0.5), {-1: 0, 0.25: 0.5, 0.5: 1, 2: 1}),
        (Clipped(upper=1, lower=3), {0: 1, 1: 1, 2: 0.5, 4: 0}),
    ],
    ids=lambda one: type(one).__name__,
)
def test_transforms(transform, wanted: dict[float, float]) -> None:
    found = [transform.forward(value) for value in wanted]
    assert found == pytest.approx(list(wanted.values()), abs=1e-4)


def test_what_is_no_molecule_scores_zero_and_is_named() -> None:
    found = task("qed").score([ETHANOL, "C1CC", "", ASPIRIN])
    assert found.invalid == [1, 2]
    assert found.values[1:3] == [0, 0]
    assert found.values[0] == pytest.approx(0.4068, abs=1e-4)
    assert task("qed").score([]) == ([], [])


def test_parts_say_what_they_should() -> None:
    up = Clipped(upper=100)

    def one(scorer: Scorer, smiles: str = ASPIRIN) -> float:
        return scorer.score([smiles]).values[0] * (100 if scorer.transform is up else 1)

    assert one(Property(name="weight", transform=Clipped(upper=1000))) == pytest.approx(0.180159)
    assert one(Property(name="rings", transform=up)) == pytest.approx(1)
    assert one(Property(name="hetero_atoms", transform=up)) == pytest.approx(4)
    assert one(AtomCount(element="H", transform=up)) == pytest.approx(8)
    assert one(AtomCount(element="C", transform=up), "[13CH4]") == pytest.approx(1)
    assert one(Similarity(target=ASPIRIN, fingerprint="AP")) == 1
    assert one(Contains(smarts="C(=O)[OH]")) == 1
    assert one(Contains(smarts="C(=O)[OH]", forbidden=True)) == 0
    assert one(Isomers(formula="C9H8O4")) == 1
    assert one(Isomers(formula="C9H8O4"), "[H][H]") == pytest.approx(0, abs=1e-6)


@pytest.mark.skipif(not has_moses(), reason="the alerts come with molsets")
def test_alerts() -> None:
    # A charge, a large ring and a quinone do not pass.
    smiles = ["CCc1ccccc1", "C[N+](C)(C)C", "C1CCCCCCC1", "O=C1C=CC(=O)C=C1"]
    assert NoAlerts().score(smiles).values == [1, 0, 0, 0]


def test_means_weigh() -> None:
    parts = [Function(lambda smiles: [0.25] * len(smiles)), Function(lambda smiles: [1.0])]
    assert ArithmeticMean(scorers=parts).score(["C"]).values == [0.625]
    assert ArithmeticMean(scorers=parts, weights=[3, 1]).score(["C"]).values == [0.4375]
    assert GeometricMean(scorers=parts).score(["C"]).values == [0.5]
    weighted = GeometricMean(scorers=parts, weights=[1, 3]).score(["C"]).values
    assert weighted == pytest.approx([0.25**0.25])
    assert GeometricMean(scorers=parts).score(["no"]).values == [0]


class Weighing:
    def predict(self, smiles: Sequence[str]) -> list[float]:
        return [float(len(text)) for text in smiles]


def test_anything_that_predicts_scores_canonical_smiles() -> None:
    found = Predicted(model=Weighing(), transform=Clipped(upper=10)).score(["OCC", "x"])
    assert found.values == pytest.approx([0.3, 0])
    with pytest.raises(UserError, match="2 numbers for 1 molecules"):
        Function(lambda smiles: [0.1, 0.2]).score(["C"])
    with pytest.raises(UserError, match="says nan of C; give 0"):
        Function(lambda smiles: [math.nan]).score(["C"])


def test_a_run_that_predicts_one_property_scores(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = SmilesTokenizer(vocabulary=(*SPECIALS, *"CNO"))
    body = Llama(tokenizer=tokenizer, dim=8, depth=1, heads=2, max_length=16)
    model = PropertyPredictor(backbone=body, properties={"logS": "regression"}).eval()
    save_pretrained(model, tmp_path / "one")
    scorer = Predicted(model=str(tmp_path / "one"), transform=Clipped(upper=10))
    texts = ["CCO", "OCC", "CN"]
    tokens = [torch.tensor([tokenizer.encode(text)]) for text in ("CCO", "CCO", "CN")]
    wanted = [min(max(float(model.predict(row)), 0), 10) / 10 for row in tokens]
    assert scorer.score(texts).values == pytest.approx(wanted, abs=1e-5)
    # Fluorine was never seen and twenty carbons are too many: nothing is known, which ends no run.
    mixed = scorer.score(["CF", "CCO", "C" * 20]).values
    assert mixed == pytest.approx([0, wanted[0], 0], abs=1e-5)
    model.set_properties({"logS": "regression", "toxic": "classification"})
    save_pretrained(model, tmp_path / "two")
    with pytest.raises(UserError, match="predicts logS, toxic; one property is needed"):
        Predicted(model=str(tmp_path / "two")).score(["CCO"])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Property(name="qed"), "known: logP, SA, QED"),
        (lambda: Property(name="logP"), "give it a transform"),
        (lambda: Function(lambda smiles: [2.0] * len(smiles)).score(["C"]), "says 2, which is no"),
        (lambda: Function(lambda smiles: [float("nan")]).score(["C"]), "says nan"),
        (lambda: Contains(smarts="C("), "no SMARTS"),
        (lambda: Similarity(target="C(", fingerprint="AP"), "target: 'C\\(' is no molecule"),
        (lambda: Similarity(target="C", fingerprint="MACCS"), "no fingerprint 'MACCS'"),  # pyright: ignore
        (lambda: Isomers(formula="c7"), "is no formula"),
        (lambda: Isomers(formula="Xx2"), "no element 'Xx'"),
        (lambda: ArithmeticMean(scorers=[]), "at least one"),
        (lambda: ArithmeticMean(scorers=[task("qed")], weights=[0]), "above 0"),
        (lambda: Sigmoid(low=1, high=1), "low must be below high"),
        (lambda: Gaussian(mean=0, deviation=0), "above 0"),
        (lambda: Oracle(task("qed"), 0), "budget is 0"),
    ],
)
def test_mistakes_are_one_line(make, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make()


def test_the_oracle_counts_different_molecules_and_asks_for_new_ones_alone() -> None:
    asked: list[list[str]] = []

    def say(smiles: Sequence[str]) -> list[float]:
        asked.append(list(smiles))
        return [len(text) / 10 for text in smiles]

    oracle = Oracle(Function(say), 3)
    first = oracle(["OCC", "CCO", "C1", "CC"])
    assert [one.score for one in first] == [0.3, 0.3, 0, 0.2]
    assert [one.call for one in first] == [1, 1, None, 2]
    assert [one.new for one in first] == [True, False, False, True]
    second = oracle(["CC", "C", "N"])  # one call is left
    assert [(one.score, one.call, one.new) for one in second] == [
        (0.2, 2, False),
        (0.1, 3, True),
        (0.0, None, False),
    ]
    assert oracle.spent
    assert oracle.calls == 3
    assert asked == [["CCO", "CC"], ["C"]]
    oracle(["CCO", "C"])
    assert len(asked) == 2


OBJECTIVE = """
class_path: headway.molecules.scoring.GeometricMean
init_args:
  weights: [2, 1, 1]
  scorers:
  - class_path: headway.molecules.scoring.Property
    init_args: {name: QED}
  - class_path: headway.molecules.scoring.Property
    init_args:
      name: logP
      transform: {class_path: headway.molecules.scoring.DoubleSigmoid, init_args: {low: 1, high: 3}}
  - class_path: headway.molecules.scoring.Contains
    init_args: {smarts: "[N+](=O)[O-]", forbidden: true}
"""


def test_an_objective_is_data_both_ways(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(OBJECTIVE)
    scorer = read_objective(str(path))
    found = scorer.score([ASPIRIN, "CC[N+](=O)[O-]"]).values
    transform = DoubleSigmoid(low=1, high=3)
    qed = task("qed").score([ASPIRIN]).values[0]
    assert found == pytest.approx([qed**0.5 * transform.forward(1.3101) ** 0.25, 0], abs=1e-4)
    again = build(describe(scorer), expected=Scorer)
    assert again.score([ASPIRIN]).values[0] == found[0]
    published = task("osimertinib_mpo")
    copy = build(describe(published), expected=Scorer)
    assert copy.score([ASPIRIN]) == published.score([ASPIRIN])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class_path: os.system\ninit_args: {command: 'touch here'}", "not part of headway"),
        ("class_path: headway.core.norms.RMSNorm\ninit_args: {dim: 4}", "is not a Scorer"),
        ("class_path: headway.molecules.scoring.Property\ninit_args: {nam: QED}", "does not take"),
        ("class_path: headway.molecules.scoring.Property\ninit_args: {name: 3}", "another kind"),
        ("scorers: []", "nothing else"),
        ("- 3", "nothing else"),
    ],
)
def test_what_is_no_objective_is_named_and_nothing_runs(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        read_objective(str(path))
    assert not (tmp_path / "here").exists()
