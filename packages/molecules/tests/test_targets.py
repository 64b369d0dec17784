"""Pairs of proteins and molecules: FASTA, the data module, and the verbs from training to PPO."""

import csv
import gzip
import json
import random
import sys
from pathlib import Path

import pytest
import torch
import yaml

from headway.core.cli.main import main
from headway.core.errors import InputError, UserError
from headway.core.testing.damage import damaged, refusals
from headway.core.weights import from_pretrained, save_pretrained
from headway.molecules.data import TargetPairs
from headway.molecules.models import DrugGen, Llama, ProteinPrefix
from headway.molecules.notation import SmilesTokenizer
from headway.molecules.optimization import Memory, Reinvent, Targets
from headway.molecules.proteins import is_fasta, read_fasta
from headway.molecules.scoring import (
    Affinity,
    GeometricMean,
    Oracle,
    PairFunction,
    Property,
    pair_key,
    parted,
)

FASTA = ">one made up\nMKV\nHEH\n\n>two\nGKGAAAA\n"
MOLECULES = ["CCO", "c1ccccc1", "CC(=O)O", "ClCCBr", "CCN", "CCCC"]
QUICK = ["--trainer.max_steps", "2", "--model.schedule", "null", "--trainer.accelerator", "cpu"]


def table(folder: Path, *, count: int = 6) -> Path:
    """Writes a table of six proteins with six molecules each, and their FASTA file."""
    names = [f"p{place}" for place in range(count)]
    sequences = "".join(f">{name}\nMK{'V' * (1 + at)}\n" for at, name in enumerate(names))
    (folder / "proteins.fasta").write_text(sequences)
    rows = [
        f"{name},{text},{at + len(text)}" for at, name in enumerate(names) for text in MOLECULES
    ]
    (folder / "pairs.csv").write_text("\n".join(["protein,smiles,affinity", *rows]) + "\n")
    return folder / "pairs.csv"


def data(path: Path, **options) -> TargetPairs:
    given = {"sequences": str(path.parent / "proteins.fasta"), "val": 12, **options}
    return TargetPairs(path=str(path), **given)


def model(**options) -> DrugGen:
    torch.manual_seed(0)
    form = ProteinPrefix(max_protein=12)
    made = DrugGen(protein=form, dim=16, depth=1, heads=2, max_length=20, **options)
    made.set_vocabulary((*made.vocabulary, "(", ")", "="))
    return made.eval()


def test_a_fasta_file_is_read_as_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "two.fasta"
    file.write_text(FASTA)
    assert list(read_fasta(file)) == [("one", "MKVHEH"), ("two", "GKGAAAA")]
    packed = tmp_path / "two.fa.gz"
    packed.write_bytes(gzip.compress(FASTA.encode()))
    assert list(read_fasta(packed)) == list(read_fasta(file))
    assert is_fasta(packed)
    assert not is_fasta("MKV")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("MKV\n", "x.fasta:1: is no FASTA: its first line begins with no >"),
        (">one\nMK1\n", "x.fasta:2: has '1' at place 3 of the sequence"),
        (">one\n>two\nMK\n", "x.fasta:1: has no sequence behind the name 'one'"),
        (">one\nMK\n>one\nMK\n", "x.fasta:3: has the name 'one' twice"),
        (">\nMK\n", "x.fasta:1: has a > without a name"),
        ("\n", "has no sequences"),
    ],
)
def test_a_bad_fasta_file_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.fasta").write_text(text)
    with pytest.raises(InputError, match=said):
        list(read_fasta(tmp_path / "x.fasta"))


def test_damaged_fasta_files(tmp_path: Path) -> None:
    whole, drawn = FASTA.encode(), random.Random(0)

    def use() -> None:
        (tmp_path / "x.fasta").write_bytes(damaged(whole, drawn))
        list(read_fasta(tmp_path / "x.fasta"))

    assert len(refusals(use for _ in range(40))) > 10


def test_all_molecules_of_a_protein_are_on_one_side(tmp_path: Path) -> None:
    pairs = data(table(tmp_path))
    pairs.told_by(model())
    pairs.setup()
    pairs.use(pairs.tokenizer.extended(sorted(set(pairs.tokens))))
    sides = [{one.properties["protein"] for one in pairs.splits[x]} for x in ("train", "val")]
    assert [len(side) for side in sides] == [4, 2]
    assert not sides[0] & sides[1]
    assert pairs.preprocessing()["proteins"] == 4
    tokens, lengths, proteins, protein_lengths = pairs.collate([pairs.val_set[x] for x in (0, 7)])
    assert (len(tokens), len(lengths)) == (2, 2)
    known = model()
    for row, record in zip((0, 1), (pairs.splits["val"][0], pairs.splits["val"][7]), strict=True):
        wanted = known.protein.numbers(pairs.sequence(record, ""), known.tokenizer)
        assert proteins[row, : int(protein_lengths[row])].tolist() == wanted
    few = data(table(tmp_path), affinity="affinity", least=10.0, val=1)
    few.setup()
    assert {float(one.properties["affinity"]) >= 10 for one in few.splits["train"]} == {True}


def test_bad_rows_and_mistakes_are_one_line(tmp_path: Path) -> None:
    path = table(tmp_path)
    path.write_text(path.read_text() + "p9,CCO,1\np1,C1CC,1\n")
    with pytest.raises(UserError, match=r"row 38: names the protein 'p9', which is not in prot"):
        data(path).setup()
    kept = data(path, on_invalid="skip")
    kept.setup()
    assert len(kept.invalid.errors) == 2
    path.write_text("protein,smiles\nMKV,CCO\nMK1,CCN\nMKVV,CCC\nMKVA,CC\n")
    alone = data(path, sequences=None, on_invalid="skip", val=1)
    alone.setup()
    assert "'1' at place 3 of the sequence" in str(alone.invalid.errors[0])
    for said, options in {
        "has no column target": {"protein": "target"},
        "no pair with a affinity of 99 or more": {"affinity": "affinity", "least": 99.0},
        "give affinity, too": {"least": 1.0},
    }.items():
        with pytest.raises(UserError, match=said):
            data(table(tmp_path), **options).setup()


def test_a_score_may_read_the_protein_and_the_oracle_asks_once_for_each_pair() -> None:
    asked: list[tuple[str, str]] = []

    def say(smiles, proteins):
        asked.extend(zip(smiles, proteins, strict=True))
        return [float(len(protein) == 3) for protein in proteins]

    scorer = GeometricMean(
        scorers=[Affinity(model=PairFunction(say)), Property(name="QED")], weights=[1, 1]
    )
    oracle = Oracle(scorer, 10)
    answers = oracle(["OCC", "C1C", "CCO", "CCO"], ["MKV", "MKV", "MKV", "MKVA"])
    assert asked == [("CCO", "MKV"), ("CCO", "MKVA")]
    assert [one.call for one in answers] == [1, None, 1, 2]
    assert answers[0].score > 0 == answers[1].score == answers[3].score
    assert list(oracle.scores) == [pair_key("CCO", "MKV"), pair_key("CCO", "MKVA")]
    assert parted("CCO MKV") == ("CCO", "MKV")
    assert parted("CCO") == ("CCO", None)
    with pytest.raises(UserError, match="none was given: --protein"):
        scorer.score(["CCO"])


def test_what_is_no_molecule_costs_and_a_memory_knows_one_protein() -> None:
    known = model()
    targets = Targets(known, {"one": "MKV", "two": "GKG"})
    assert [targets.turn(0, 3), targets.turn(1, 3)] == [[0, 1, 0], [1, 0, 1]]
    agent = Reinvent(known, batch_size=6, targets=targets, invalid=0.5)
    seen = []
    agent.improve = lambda rollout, replayed: seen.append(rollout)  # pyright: ignore
    proposal = agent.ask()
    assert proposal.proteins is not None
    assert set(proposal.proteins) == {"MKV", "GKG"}
    answers = Oracle(Affinity(model=PairFunction(lambda s, p: [1.0] * len(s))), 99)(
        proposal.smiles, proposal.proteins
    )
    agent.tell(answers)
    wanted = [1.0 if one.canonical else -0.5 for one in answers]
    assert seen[0].rewards.tolist() == wanted
    assert -0.5 in wanted
    with pytest.raises(UserError, match="a memory and 2 proteins"):
        Reinvent(known, targets=targets, memory=Memory())
    with pytest.raises(UserError, match="invalid is -1"):
        Reinvent(known, invalid=-1.0)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path / "runs"))
    path = table(tmp_path)
    words = ["fit", "-c", "molecules/druggen_pairs", *QUICK, "--data.path", str(path)]
    words += ["--data.sequences", str(tmp_path / "proteins.fasta"), "--data.val", "12"]
    words += [f"--model.backbone.{name}" for name in ("dim=16", "heads=2", "depth=1")]
    assert main([*words, "--data.batch_size", "8", "--trainer.precision", "32"]) == 0
    return tmp_path / "runs" / "molecules" / "druggen_pairs" / "1"


def test_the_recipe_trains_and_its_run_writes_for_proteins(
    run: Path, tmp_path: Path, capsys
) -> None:
    assert main(["validate", "-m", str(run)]) == 0
    found = from_pretrained(str(run))
    assert isinstance(found, DrugGen)
    assert {"Cl", "Br", "c"} <= set(found.vocabulary)
    out = tmp_path / "out.csv"
    words = ["sample", "-m", str(run), "-n", "5", "-o", str(out), "--device", "cpu", "--json"]
    capsys.readouterr()
    fasta = str(tmp_path / "proteins.fasta")
    assert main([*words, "--protein", fasta]) in (0, 1)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["proteins"] == 6
    rows = list(csv.DictReader(out.open()))
    assert [row["protein"] for row in rows] == [f"p{at // 5}" for at in range(30)]
    (tmp_path / "long.fasta").write_text(f">long\n{'M' * 500}\n>short\nMKV\n")
    words += ["--overwrite", "--protein", str(tmp_path / "long.fasta")]
    assert main(words) == 2
    assert "long: the protein has 501 tokens; the model takes 128" in capsys.readouterr().err
    assert main([*words, "--on-invalid", "skip", "--must-have", "[#6]"]) in (0, 1)
    assert {row["protein"] for row in csv.DictReader(out.open())} == {"short"}
    capsys.readouterr()
    for said, options in {
        "'k' at place 2 of the sequence, which is no amino acid": ["--protein", "Mk"],
        "give one": ["--protein", "MKV", "--fragment", "C"],
    }.items():
        assert main([*words, *options]) == 2
        assert said in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize("method", ["ppo", "reinvent"])
def test_optimising_for_proteins_from_a_folder_to_a_model(
    method: str, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_pretrained(model(), tmp_path / "prior")
    (tmp_path / "made_pairs.py").write_text(
        "from headway.core.module import Module\n\n\nclass Longer(Module):\n    def predict(self, smiles, proteins):\n"
        "        return [min(1.0, len(s) / len(p)) for s, p in zip(smiles, proteins)]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    affinity = {
        "class_path": "headway.molecules.scoring.Affinity",
        "init_args": {"model": {"class_path": "made_pairs.Longer"}},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(affinity))
    (tmp_path / "two.fasta").write_text(">one\nMKVMKV\n>two\nMKVA\n")
    out = tmp_path / "out"
    words = ["optimize", "-m", str(tmp_path / "prior"), "--task", str(tmp_path / "mine.yaml")]
    words += ["--method", method, "--batch-size", "16", "--samples", "20", "--device", "cpu"]
    words += ["--allow", "made_pairs", "--json", "--protein", str(tmp_path / "two.fasta")]
    assert main([*words, "--invalid-penalty", "0.2", "--budget", "30", "-o", str(out)]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["calls"] == 30
    assert set(said["written"]) == {"before", "after"}
    rows = list(csv.DictReader((out / "molecules.csv").open()))
    assert {row["protein"] for row in rows} == {"one", "two"}
    assert {row["protein"] for row in csv.DictReader((out / "best.csv").open())} <= {"one", "two"}
    assert isinstance(from_pretrained(out / "model"), DrugGen)
    again = [*words, "--invalid-penalty", "0.2", "--budget", "40", "--resume", str(out)]
    assert main(again) == 0
    other = [*again[: again.index("--protein") + 1], "MKV", *again[again.index("--protein") + 2 :]]
    capsys.readouterr()
    assert main(other) == 2
    assert "is of another run: proteins" in capsys.readouterr().err
    assert main([*words, "--method", "pairs", "-o", str(tmp_path / "no")]) == 2
    assert "pairs writes for no protein; reinvent, ppo do" in capsys.readouterr().err
    sys.modules.pop("made_pairs", None)
    llama = Llama(tokenizer=SmilesTokenizer(), dim=8, depth=1, heads=2)
    save_pretrained(llama, tmp_path / "llama")
    assert main([*words, "-m", str(tmp_path / "llama"), "-o", str(tmp_path / "no")]) == 2
    assert "which is told no protein" in capsys.readouterr().err
