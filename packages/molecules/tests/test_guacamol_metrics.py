"""GuacaMol's scores: those of its own code on one set, and each by hand.

GuacaMol 0.5.5 (with ``numpy.histogram`` where scipy no longer has one) was run beside this on 400 molecules of
MOSES and 350 of the NCI set: its scores were the same to the last bit, divergences to 2e-16. FCD differs by
1e-7 on MOSES and by 0.5 % on the NCI set, because fcd_torch reads some rare atoms and the dot between two
components otherwise than the package fcd does.
"""

import json
import math
import random

import numpy as np
import pytest
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

from headway.core.cli.main import main
from headway.core.errors import UserError
from headway.molecules.metrics.guacamol import guacamol_metrics
from headway.molecules.metrics.guacamol.description import profile
from headway.molecules.metrics.guacamol.divergence import (
    continuous_divergence,
    counted_divergence,
    nearest_others,
)
from headway.molecules.shipped import nci_file

# What GuacaMol's own code says of ``samples`` and ``training``.
OFFICIAL = {
    "Validity": 0.97,
    "Uniqueness": 0.935,
    "Novelty": 0.985,
    "KL divergence": 0.9293262057559579,
    "KL/BertzCT": 0.05888723865294747,
    "KL/MolLogP": 0.020915220149411592,
    "KL/MolWt": 0.04109070445128294,
    "KL/TPSA": 0.026739533356991647,
    "KL/NumHAcceptors": 0.11015314521245864,
    "KL/NumHDonors": 0.03559855410561909,
    "KL/NumRotatableBonds": 0.4143748440751888,
    "KL/NumAliphaticRings": 0.014975682040609678,
    "KL/NumAromaticRings": 0.048710494779371886,
    "KL/internal_similarity": 0.02151010018798075,
}
FRECHET = 0.1435925556079199


def nci(number: int) -> list[str]:
    lines = nci_file().read_text().splitlines()
    return [line.split()[0] for line in lines if line.strip()][:number]


def both() -> tuple[list[str], list[str]]:
    wrong = ["C1CC", "C[C@H](N)O", "C[C@@H](N)O", "CCO", "OCC", "no"] * 5
    samples = [text for text in nci(300) + wrong if "." not in text]
    training = [text for text in nci(1000)[300:] if "." not in text] + ["CCO"]
    random.Random(0).shuffle(samples)
    return samples, training


def test_the_scores_are_those_of_its_own_code() -> None:
    said = guacamol_metrics(*both(), number=200, fcd=False)
    assert said.pop("samples") == 200
    assert said == pytest.approx(OFFICIAL, rel=1e-9)


def test_the_distance_of_chemnet_is_nearly_that_of_its_own_code() -> None:
    pytest.importorskip("fcd_torch")
    said = guacamol_metrics(*both(), number=200)
    assert said["Frechet ChemNet Distance"] == pytest.approx(FRECHET, rel=1e-3)
    assert said["Frechet ChemNet Distance"] == pytest.approx(math.exp(-0.2 * said["FCD"]))


def test_stereochemistry_does_not_make_a_molecule_new_or_different() -> None:
    samples = ["C[C@H](N)O", "C[C@@H](N)O", "CCN", "CCCC", "c1ccccc1O", *nci(60)]
    training = ["CC(N)O", "CCCCO", "CCCCN", *nci(30)]
    said = guacamol_metrics(samples, training, number=33, fcd=False)
    assert said["Validity"] == 1.0
    assert said["Uniqueness"] == pytest.approx(32 / 33)
    # What is new are ethylamine, butane and phenol.
    assert said["Novelty"] == pytest.approx(3 / 33)


def test_similarities_and_descriptors_are_those_of_rdkit(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = nci(50)
    found = profile(texts)
    morgan = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=4096)
    bits = [morgan.GetFingerprint(Chem.MolFromSmiles(text)) for text in texts]
    alike = np.array([DataStructs.BulkTanimotoSimilarity(one, bits) for one in bits])
    np.fill_diagonal(alike, 0)
    whole = nearest_others(found.fingerprints)
    np.testing.assert_array_equal(whole, alike.max(axis=1))
    monkeypatch.setattr("headway.molecules.metrics.guacamol.divergence.BLOCK", 7)
    np.testing.assert_array_equal(nearest_others(found.fingerprints), whole)
    assert found.descriptors.shape == (50, 9)
    assert profile(texts, workers=1).descriptors.tolist() == found.descriptors.tolist()


def test_the_same_set_does_not_diverge() -> None:
    values = np.random.default_rng(0).normal(size=200)
    assert continuous_divergence(values, values, "x") == 0.0
    assert counted_divergence(values, values, "x") == 0.0
    assert continuous_divergence(values, values + 1, "x") > 0.3
    with pytest.raises(UserError, match="x is the same for all molecules of a set"):
        continuous_divergence(values, np.ones(9), "x")
    with pytest.raises(UserError, match="no generated molecule has a x"):
        counted_divergence(values, values + 100, "x")
    with pytest.raises(UserError, match="there are 1 molecules and 1 of the training set"):
        guacamol_metrics(["CCO"], ["CCO"])
    with pytest.raises(UserError, match="there are 0 valid molecules"):
        guacamol_metrics(["C1C"] * 3, nci(3))


def test_the_verb_says_them_beside_those_of_moses(tmp_path, capsys) -> None:
    samples, training = both()
    (tmp_path / "mine.smi").write_text("\n".join(samples))
    (tmp_path / "training.smi").write_text("\n".join(training))
    words = ["score-molecules", str(tmp_path / "mine.smi"), "--no-fcd", "--json"]
    words += ["-o", str(tmp_path / "scores.csv"), "--guacamol", str(tmp_path / "training.smi")]
    assert main([*words, "--reference", str(tmp_path / "training.smi")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["samples"] == len(samples)
    assert said["KL divergence"] == pytest.approx(0.93, abs=0.02)
    assert "Frechet ChemNet Distance" not in said
    assert 0 < said["SNN/Test"] < 1
