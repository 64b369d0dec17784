"""MOSES' metrics: on small sets by hand, against the statistics that molsets holds, and against fcd_torch.

With molsets 0.3.1 and RDKit 2026.09 fingerprints of its test set are equal to the last bit, properties to
5e-14; the row "Train" of the published table is compared in ``test_the_published_row_of_the_training_set``.
"""

import csv
import gzip
import json
import math
import pickle
import random
import shutil
import zipfile

import numpy as np
import pytest
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator
from scipy.stats import wasserstein_distance

from headway.core.cli.main import main
from headway.core.errors import InputError, UserError
from headway.molecules.metrics.moses import describe, moses_metrics, moses_reference, reference_of
from headway.molecules.metrics.moses import reference as reference_module
from headway.molecules.metrics.moses.description import fragments, scaffold, unpacked
from headway.molecules.metrics.moses.filters import passes
from headway.molecules.metrics.moses.similarity import (
    cosine,
    internal_diversity,
    nearest_similarity,
)
from headway.molecules.shipped import has_moses, moses_file, moses_folder, nci_file

needs_moses = pytest.mark.skipif(not has_moses(), reason="molsets is not installed")
DRUGS = [
    "CC(=O)Oc1ccccc1C(=O)O",
    "CC(C)Cc1ccc(C(C)C(=O)O)cc1",
    "CN1C=NC2=C1C(=O)N(C)C(=O)N2C",
    "CC(=O)Nc1ccc(O)cc1",
]
OTHERS = ["c1ccc2ccccc2c1", "CCO", "OCC", "C1CCCCC1N", "CC(=O)Nc1ccc(O)cc1"]


def few(number: int) -> list[str]:
    lines = nci_file().read_text().splitlines()
    return [line.split()[0] for line in lines if line.strip()][:number]


def moses_rows(split: str, number: int) -> list[str]:
    with gzip.open(moses_file(split), "rt") as file:
        return [row["SMILES"] for row, _ in zip(csv.DictReader(file), range(number), strict=False)]


def test_a_molecule_is_described_as_rdkit_says() -> None:
    described = describe([*DRUGS, "no", ""])
    assert described[4:] == [None, None]
    aspirin = described[0]
    assert aspirin.smiles == Chem.CanonSmiles(DRUGS[0])
    assert aspirin.properties[0] == pytest.approx(1.31, abs=0.01)
    assert aspirin.properties[3] == pytest.approx(180.16, abs=0.01)
    assert aspirin.scaffold is None  # one ring
    found = Chem.MolFromSmiles("c1ccc(CCN2CCOC2)cc1")
    assert scaffold(found) == "c1ccc(CCN2CCOC2)cc1"
    paracetamol = fragments(Chem.MolFromSmiles(DRUGS[3]))
    assert sorted(paracetamol) == ["[1*]C(C)=O", "[16*]c1ccc(O)cc1", "[5*]N[5*]"]
    assert fragments(Chem.MolFromSmiles("CCO")) == ("CCO",)
    # However it is written.
    assert describe(["OC(=O)c1ccccc1OC(C)=O"])[0] == aspirin


def test_similarities_are_those_of_rdkit() -> None:
    one, other = ([x for x in describe(rows) if x] for rows in (few(40), few(90)[40:]))
    morgan = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    bits = [
        [morgan.GetFingerprint(Chem.MolFromSmiles(x.smiles)) for x in rows] for rows in (one, other)
    ]
    alike = np.array([DataStructs.BulkTanimotoSimilarity(x, bits[0]) for x in bits[1]])
    packed = [unpacked([x.fingerprint for x in rows]) for rows in (one, other)]
    assert nearest_similarity(*packed) == pytest.approx(alike.max(axis=1).mean(), abs=1e-6)
    own = np.array([DataStructs.BulkTanimotoSimilarity(x, bits[0]) for x in bits[0]])
    wanted = [1 - own.mean(), 1 - np.sqrt((own**2).mean(axis=1)).mean()]
    assert internal_diversity(packed[0]) == pytest.approx(wanted, abs=1e-6)
    # Nothing in common with nothing.
    assert nearest_similarity(np.zeros((1, 8), np.uint8), np.zeros((2, 8), np.uint8)) == 1.0


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bits = np.random.default_rng(0).integers(0, 2, (23, 64)).astype(np.uint8)
    whole = nearest_similarity(bits[:9], bits), *internal_diversity(bits)
    monkeypatch.setattr("headway.molecules.metrics.moses.similarity.BLOCK", 5)
    assert (nearest_similarity(bits[:9], bits), *internal_diversity(bits)) == pytest.approx(whole)


def test_counts_are_compared_by_their_cosine() -> None:
    assert cosine({"a": 3, "b": 4}, {"a": 6, "b": 8}) == pytest.approx(1.0)
    assert cosine({"a": 1}, {"b": 1}) == 0.0
    assert cosine({"a": 1}, {"a": 1, "b": 1}) == pytest.approx(1 / math.sqrt(2))
    assert math.isnan(cosine({}, {"a": 1}))


def test_each_metric_is_of_what_it_says() -> None:
    reference = reference_of([x for x in describe(DRUGS) if x], chemnet=False)
    said = moses_metrics(
        [*OTHERS, "no"], {"Test": reference}, train={"CCO", "c1ccccc1"}, unique_of=(2, 3, 9)
    )
    assert said["valid"] == pytest.approx(5 / 6)
    assert (said["unique@2"], said["unique@3"]) == (1.0, pytest.approx(2 / 3))
    assert "unique@9" not in said
    assert said["Novelty"] == pytest.approx(3 / 4)
    assert ("Filters" in said) == has_moses()
    described = [x for x in describe(OTHERS) if x]
    wanted = wasserstein_distance(
        reference.properties["QED"], [one.properties[2] for one in described]
    )
    assert said["QED"] == pytest.approx(wanted)
    same = moses_metrics(DRUGS, {"Test": reference})
    assert (same["SNN/Test"], same["Frag/Test"]) == pytest.approx((1.0, 1.0))
    assert same["logP"] == same["weight"] == 0.0


def test_another_process_finds_the_same() -> None:
    rows = [*few(30), "no"]
    assert describe(rows, workers=1) == describe(rows)
    with pytest.raises(UserError, match="workers is -1"):
        describe(rows, workers=-1)


def test_nothing_to_measure_is_one_line() -> None:
    reference = reference_of([x for x in describe(DRUGS) if x], chemnet=False)
    with pytest.raises(UserError, match="0 molecules and 1 references"):
        moses_metrics([], {"Test": reference})
    with pytest.raises(UserError, match="none of 2 molecules is valid"):
        moses_metrics(["no", "nor"], {"Test": reference})
    with pytest.raises(UserError, match="no valid molecule to compare with"):
        reference_of([])


def test_fcd_is_that_of_fcd_torch() -> None:
    fcd_torch = pytest.importorskip("fcd_torch")
    from headway.molecules.metrics.moses.chemnet import chemnet_moments, frechet_distance

    one, other = ([x.smiles for x in describe(rows) if x] for rows in (few(60), few(130)[60:]))
    wanted = fcd_torch.FCD(device="cpu")(one, other)
    found = frechet_distance(chemnet_moments(one), chemnet_moments(other))
    assert found == pytest.approx(wanted, rel=1e-4)
    with pytest.raises(UserError, match="1 valid molecules; FCD needs at least 2"):
        chemnet_moments(one[:1])


@needs_moses
def test_what_molsets_holds_of_its_test_set_is_found_again() -> None:
    reference = moses_reference("test")
    described = describe(moses_rows("test", 200))
    bits = unpacked([one.fingerprint for one in described])
    assert np.array_equal(bits, reference.fingerprints[:200])
    columns = np.array([one.properties for one in described]).T
    for name, column in zip(reference.properties, columns, strict=True):
        np.testing.assert_allclose(column, reference.properties[name][:200], atol=1e-6)
    assert all(piece in reference.fragments for one in described for piece in one.fragments)
    assert all(one.scaffold in reference.scaffolds for one in described if one.scaffold)
    assert all(one.passes for one in described)


@needs_moses
def test_molecules_that_moses_would_not_have_are_told() -> None:
    wrong = ["[NH3+]CC", "C1CCCCCCC1", "CC[Si](C)(C)C", "O=NN(C)C", "N#CC=C(C)C(=O)C"]
    assert not any(passes(Chem.MolFromSmiles(text)) for text in wrong[:3])
    assert passes(Chem.MolFromSmiles(DRUGS[3]))


@needs_moses
def test_another_file_than_that_of_molsets_is_not_opened(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "dataset" / "data"
    folder.mkdir(parents=True)
    monkeypatch.setattr(reference_module, "moses_folder", lambda: tmp_path)
    with pytest.raises(UserError, match=r"pip install --no-deps molsets==0\.3\.1"):
        moses_reference("test")
    shutil.copy(moses_folder() / "metrics" / "mcf.csv", folder / "test_stats.npz")
    with pytest.raises(InputError, match=r"is not the file of molsets 0\.3\.1"):
        moses_reference("test")


def test_a_pickle_that_names_a_function_is_refused(tmp_path) -> None:
    path = tmp_path / "stats.npz"
    header = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    header = header.ljust(127) + b"\n"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("stats.npy", header + pickle.dumps(print))
    with pytest.raises(InputError, match=r"names builtins\.print, which is never imported"):
        reference_module._load(str(path))


@needs_moses
@pytest.mark.slow
def test_the_published_row_of_the_training_set() -> None:
    """The row "Train" of the published table, whose 30,000 molecules are not known, within rounding and chance."""
    pytest.importorskip("fcd_torch")
    # The file is not in a random order: its first rows are far from the rest (an FCD of 4.3).
    rows = random.Random(0).sample(moses_rows("train", 10**7), 30000)
    said = moses_metrics(
        rows,
        {"Test": moses_reference("test"), "TestSF": moses_reference("test_scaffolds")},
        workers=2,
    )
    published = {
        "valid": (1, 0),
        "unique@1000": (1, 0),
        "unique@10000": (1, 0),
        "FCD/Test": (0.008, 0.06),
        "FCD/TestSF": (0.4755, 0.06),
        "SNN/Test": (0.6419, 0.002),
        "SNN/TestSF": (0.5859, 0.002),
        "Frag/Test": (1, 0.0005),
        "Frag/TestSF": (0.9986, 0.0005),
        "Scaf/Test": (0.9907, 0.02),
        "Scaf/TestSF": (0, 0),
        "IntDiv": (0.8567, 0.001),
        "IntDiv2": (0.8508, 0.001),
        "Filters": (1, 0),
    }
    for name, (wanted, tolerance) in published.items():
        assert said[name] == pytest.approx(wanted, abs=tolerance), name


def test_the_verb_writes_a_row_for_each_and_compares(tmp_path, capsys) -> None:
    path, out = tmp_path / "mine.smi", tmp_path / "scores.csv"
    path.write_text("\n".join([*(f"{text} name{n}" for n, text in enumerate(DRUGS)), "C1CC wrong"]))
    words = ["score-molecules", str(path), "--no-fcd", "-o", str(out)]
    assert main([*words, "--reference", str(path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["valid"] == pytest.approx(0.8)
    assert (said["SNN/Test"], said["logP"]) == (pytest.approx(1.0), 0.0)
    assert "FCD/Test" not in said
    rows = list(csv.DictReader(out.open()))
    assert [row["valid"] for row in rows] == ["1", "1", "1", "1", "0"]
    assert (rows[0]["id"], rows[4]["canonical_smiles"]) == ("name0", "")
    assert float(rows[0]["weight"]) == pytest.approx(180.16, abs=0.01)
    assert main([*words, "--overwrite", "--on-invalid", "skip"]) == 0
    assert len(list(csv.DictReader(out.open()))) == 4
    path.write_text("no\nnor\n")
    assert main([*words, "--overwrite"]) == 1
    assert main([*words, "--overwrite", "--moses", "--reference", "nci"]) == 2
    assert "two references; give one" in capsys.readouterr().err
