import gzip
from pathlib import Path

import pytest
import torch
from rdkit import Chem

from headway.core.errors import InputError, UserError
from headway.molecules.chemistry import canonical
from headway.molecules.data import SmilesFile, SmilesTokenizer, find_file, nci_file, split_smiles
from headway.molecules.data.reading import read_smiles
from headway.molecules.metrics import measure
from headway.molecules.models.llama import SPECIALS
from headway.molecules.notation import refuse_pieces

GOOD = ["CCO", "c1ccccc1", "CC(=O)O", "ClCCBr", "C[C@@H](N)C(=O)O", "CCN", "CCCC", "OCCO"]


def write(folder: Path, rows: list[str], name: str = "set.smi") -> Path:
    path = folder / name
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize(
    ("smiles", "tokens"),
    [
        ("ClCCBr", ["Cl", "C", "C", "Br"]),
        ("C[C@@H](N)O", ["C", "[C@@H]", "(", "N", ")", "O"]),
        ("c1cc%10cc%(123)", ["c", "1", "c", "c", "%10", "c", "c", "%(123)"]),
        ("F/C=C\\F", ["F", "/", "C", "=", "C", "\\", "F"]),
        ("[Na+].[Cl-]", ["[Na+]", ".", "[Cl-]"]),
    ],
)
def test_atoms_are_tokens(smiles: str, tokens: list[str]) -> None:
    assert split_smiles(smiles, "x") == tokens


def test_every_molecule_that_rdkit_brings_survives_the_tokens() -> None:
    rows = [row.smiles for row in read_smiles(nci_file())]
    vocabulary = sorted({token for smiles in rows for token in split_smiles(smiles, "x")})
    tokenizer = SmilesTokenizer((*SPECIALS, *vocabulary))
    assert len(rows) == 4999
    for smiles in rows:
        numbers = tokenizer.encode(smiles)
        assert (numbers[0], numbers[-1]) == (1, 2)
        assert tokenizer.decode(numbers) == smiles


def test_what_cannot_be_encoded_is_named() -> None:
    tokenizer = SmilesTokenizer((*SPECIALS, "C", "O"))
    with pytest.raises(InputError, match=r"a.csv, row 3: .* does not know: Br N"):
        tokenizer.encode("CBrNO", "a.csv, row 3")
    with pytest.raises(InputError, match="unknown|no SMILES: 'x' at place 3"):
        tokenizer.encode("CCxC", "row 1")


def test_tables_and_lines_gzipped_or_not(tmp_path: Path) -> None:
    lines = write(tmp_path, ["CCO ethanol", "", "CCN\tamine"])
    assert [tuple(row) for row in read_smiles(lines)] == [(1, "CCO"), (3, "CCN")]
    table = write(tmp_path, ["id,Canonical_SMILES,y", '1,"CC(=O)O",2', "2,CCN,3"], "t.csv")
    assert [tuple(row) for row in read_smiles(table)] == [(2, "CC(=O)O"), (3, "CCN")]
    assert [row.smiles for row in read_smiles(table, "id")] == ["1", "2"]
    packed = tmp_path / "t2.csv.gz"
    packed.write_bytes(gzip.compress(table.read_bytes()))
    assert list(read_smiles(packed)) == list(read_smiles(table))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"id,y\n1,2\n", "no column called smiles; its columns are id, y"),
        ("t.sdf", b"", "no table of molecules"),
        ("t.csv.gz", gzip.compress(b"smiles\nC\n", mtime=0)[:-9], "cannot be unpacked"),
        ("t.smi", b"\xff\xfe\x00", "is not UTF-8"),
        ("t.csv", b"", "is empty"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        list(read_smiles(tmp_path / name))
    with pytest.raises(UserError, match="there is no such file"):
        list(read_smiles(tmp_path / "none.csv"))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("C1CC", "row 17: 'C1CC' is no molecule: a ring"),
        ("C(C)(C)(C)(C)C", "row 17: .*Explicit valence for atom # 0 C, 5"),
        ("c1cccc1", "row 17: .*kekulize"),
        ("CC?!", "row 17: .*no SMILES: '!'"),
        ("C" * 200, "row 17: 202 tokens with start and end are more than max_length 128"),
    ],
)
def test_an_invalid_molecule_in_row_17(tmp_path: Path, bad: str, said: str, caplog) -> None:
    path = write(tmp_path, [*(GOOD * 2), bad, *GOOD])
    with pytest.raises(InputError, match=said):
        SmilesFile(path=str(path)).setup()
    data = SmilesFile(path=str(path), on_invalid="skip", val=4)
    data.setup()
    assert sum(map(len, data.splits.values())) == 24
    assert "skipped 1 of 25 molecules: set.smi, row 17" in caplog.text


def ready(path: Path, **options) -> SmilesFile:
    data = SmilesFile(path=str(path), **options)
    data.setup()
    data.use(SmilesTokenizer((*SPECIALS, *data.tokens)))
    return data


def test_splits_are_disjoint_and_a_function_of_the_seed(tmp_path: Path) -> None:
    path = write(tmp_path, ["C" * (n + 1) for n in range(40)])
    data = ready(path, val=8, test=0.25, max_length=50)
    parts = [set(data.splits[name]) for name in ("train", "val", "test")]
    assert [len(part) for part in parts] == [22, 8, 10]
    assert len(set.union(*parts)) == 40
    assert ready(path, val=8, test=0.25, max_length=50).splits == data.splits
    other = ready(path, val=8, test=0.25, max_length=50, split_seed=1)
    assert other.splits != data.splits
    assert sum(map(len, ready(path, limit=10, max_length=50).splits.values())) == 10


def test_batches_hold_molecules_of_about_equal_length(tmp_path: Path) -> None:
    rows = ["C" * (1 + n % 30) for n in range(400)]
    data = ready(write(tmp_path, rows), val=0, batch_size=20)
    padding = total = seen = 0
    for tokens, lengths in data.train_dataloader():
        assert tokens.shape[1] == lengths.max()
        for row, length in zip(tokens, lengths, strict=True):
            assert row[length - 1] == 2
            assert bool((row[length:] == 2).all())
        padding += int((lengths.max() - lengths).sum())
        total += int(lengths.sum())
        seen += len(lengths)
    assert seen == 400
    assert padding < 0.12 * total  # in random batches it would be about 90 %


def test_random_notations_are_the_same_molecule_and_new_in_every_epoch(tmp_path: Path) -> None:
    rows = ["CC(=O)Oc1ccccc1C(=O)O"] * 3
    data = ready(write(tmp_path, rows), randomize=True, val=0)
    tokenizer = data.train_set.tokenizer
    torch.manual_seed(0)
    drawn = {tokenizer.decode(data.train_set[0].tolist()) for _ in range(20)}
    assert len(drawn) > 5
    assert len({Chem.CanonSmiles(smiles) for smiles in drawn}) == 1


def test_moses_is_found_without_importing_it_or_its_absence_is_said(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install --no-deps molsets"):
        find_file("moses")
    assert find_file("nci") == nci_file()


def test_quality_counts_as_moses_does() -> None:
    found = measure(["CCO", "OCC", "CCN", "C1C", ""], {"CCN"})
    assert found.validity == 3 / 5
    assert found.uniqueness == 2 / 3
    assert found.novelty == 1 / 2
    assert found.canonical == ["CCO", "CCO", "CCN", None, None]
    assert measure(["C1C"]).uniqueness == 0


def test_a_molecule_is_on_one_side_of_the_split_however_it_is_written(tmp_path: Path) -> None:
    different = ["CCO", "CCN", "CCC", "CCCl", "CCBr", "CCF", "CCS", "CCP", "CCI", "c1ccccc1"]
    again = ["OCC", "NCC", "C(C)C", "ClCC", "BrCC", "FCC", "SCC", "PCC", "ICC", "C1=CC=CC=C1"]
    for seed in range(5):
        data = SmilesFile(
            path=str(write(tmp_path, different + again)), val=0.3, test=0.3, split_seed=seed
        )
        data.setup()
        sides = [{canonical(one) for one in part} for part in data.splits.values()]
        assert sum(len(part) for part in data.splits.values()) == 20
        assert len(set().union(*sides)) == sum(len(side) for side in sides) == 10
        assert min(len(side) for side in sides) > 0


def test_a_molecule_longer_than_any_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="a SMILES of 200,000 characters; at most 10,000"):
        split_smiles("C" * 200_000, "here")


def test_one_token_may_start_and_end_a_molecule() -> None:
    tokenizer = SmilesTokenizer(["<end>", "C", "O"], start=0, end=0)
    assert tokenizer.encode("CO") == [0, 1, 2, 0]
    assert tokenizer.decode([0, 1, 2, 0, 1]) == "CO"
    assert tokenizer.decode([1, 2]) == "CO"
    assert tokenizer.decode([0, 0]) == ""


@pytest.mark.parametrize("token", ["CC", "c1ccccc1", "Ġthe", "C(=O)"])
def test_vocabularies_of_pieces_are_refused(token: str) -> None:
    refuse_pieces(["<pad>", "C", "[nH]", "Cl", "%12", "(", "<0x0A>"], "here")
    with pytest.raises(UserError, match="here has a vocabulary of pieces such as"):
        refuse_pieces(["C", token], "here")
