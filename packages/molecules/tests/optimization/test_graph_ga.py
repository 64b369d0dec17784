"""The graph genetic algorithm: its children are molecules, and selection makes them better."""

import random
from pathlib import Path

import pytest
from rdkit import Chem

from headway.core.errors import UserError
from headway.molecules.chemistry import canonical
from headway.molecules.optimization import GraphGA, Run
from headway.molecules.optimization.graph_moves import MUTATIONS, cross, mutate
from headway.molecules.scoring import Function, task

DRUGS = [
    "CC(=O)Oc1ccccc1C(=O)O",
    "CC(C)Cc1ccc(cc1)C(C)C(=O)O",
    "COc1ccc2[nH]cc(CCNC(C)=O)c2c1",
    "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
    "CN1CCC[C@H]1c1cccnc1",
    "C[N+](C)(C)CCO",
    "O=C(O)CC(O)(CC(=O)O)C(=O)O",
    "Nc1ccc(cc1)S(=O)(=O)N",
]


@pytest.mark.parametrize("change", MUTATIONS, ids=lambda one: one.__name__)
def test_each_change_makes_another_molecule(change, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headway.molecules.optimization.graph_moves.MUTATIONS", [change])
    monkeypatch.setattr("headway.molecules.optimization.graph_moves.MUTATION_SHARES", [1])
    source = random.Random(0)
    found = [mutate(text, source) for text in DRUGS]
    children = [text for text in found if text is not None]
    assert len(children) >= 4
    assert all(canonical(text) == text for text in children)
    assert all("." not in text for text in children)
    assert all(child != canonical(parent) for child, parent in zip(found, DRUGS, strict=True))


def test_children_have_atoms_of_both_parents_and_no_large_rings() -> None:
    source = random.Random(1)
    found = [cross("FC1CCCCC1CCF", "ClC1CCCCC1CCCl", source) for _ in range(40)]
    children = [text for text in found if text is not None]
    assert len(children) > 20
    assert sum("F" in text and "Cl" in text for text in children) > 10
    for text in children:
        child = Chem.MolFromSmiles(text)
        assert all(len(ring) <= 6 for ring in child.GetRingInfo().AtomRings())


def test_what_cannot_be_changed_is_none() -> None:
    source = random.Random(0)
    assert cross("no", "CCO", source) is None
    assert mutate("no", source) is None
    assert mutate("[Na+].[Cl-]", source) is None


def test_selection_makes_them_better() -> None:
    good = task("isomers_c9h10n2o2pf2cl")

    def best(scorer) -> float:
        run = Run(GraphGA(DRUGS, population=20, offspring=30), scorer, 600)
        run.go()
        values = sorted(good.score(list(run.oracle.scores)).values)
        return sum(values[-50:]) / 50

    blind = Function(lambda smiles: [0.5] * len(smiles))
    assert best(good) > best(blind) + 0.03


def test_a_run_goes_on_as_if_it_had_not_been_broken_off(tmp_path: Path) -> None:
    def make() -> GraphGA:
        return GraphGA(DRUGS, population=10, offspring=10, seed=2)

    Run(make(), task("qed"), 1000, folder=tmp_path / "whole").go(steps=5)
    Run(make(), task("qed"), 1000, folder=tmp_path / "broken").go(steps=2)
    Run(make(), task("qed"), 1000, folder=tmp_path / "broken", resume=True).go(steps=3)
    tables = [(tmp_path / name / "molecules.csv").read_text() for name in ("whole", "broken")]
    assert tables[0] == tables[1]


def test_it_needs_parents() -> None:
    with pytest.raises(UserError, match="1 molecules to begin with"):
        GraphGA(["C"])
