import gzip
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rdkit import Chem

from headway.core.errors import InputError, UserError
from headway.core.language import SPECIALS
from headway.molecules.chemistry import canonical
from headway.molecules.data import (
    Record,
    ScaffoldSplit,
    SmilesFile,
    TimeSplit,
    find_file,
    nci_file,
    read_records,
)
from headway.molecules.data.splits import scaffold
from headway.molecules.figures import save_grid
from headway.molecules.metrics import measure
from headway.molecules.notation import SmilesTokenizer, split_smiles
from headway.molecules.notation.smiles import first_piece

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
    rows = [row.smiles for row in read_records(nci_file())]
    vocabulary = sorted({token for smiles in rows for token in split_smiles(smiles, "x")})
    tokenizer = SmilesTokenizer(vocabulary=(*SPECIALS, *vocabulary))
    assert len(rows) == 4999
    for smiles in rows:
        numbers = tokenizer.encode(smiles)
        assert (numbers[0], numbers[-1]) == (1, 2)
        assert tokenizer.decode(numbers) == smiles


def test_what_cannot_be_encoded_is_named() -> None:
    tokenizer = SmilesTokenizer(vocabulary=(*SPECIALS, "C", "O"))
    with pytest.raises(InputError, match=r"a.csv, row 3: .* does not know: Br N"):
        tokenizer.encode("CBrNO", "a.csv, row 3")
    with pytest.raises(InputError, match="unknown|no SMILES: 'x' at place 3"):
        tokenizer.encode("CCxC", "row 1")


def told(path: Path, **options) -> list[tuple[int, str, str]]:
    return [(one.row, one.smiles, one.id) for one in read_records(path, **options)]


def test_lines_and_tables_packed_or_not(tmp_path: Path) -> None:
    lines = write(tmp_path, ["CCO ethanol", "", "CCN\tamine of ethyl", "CCC,propane", "CC;x"])
    assert told(lines) == [
        (1, "CCO", "ethanol"),
        (3, "CCN", "amine of ethyl"),
        (4, "CCC", "propane"),
        (5, "CC", "x"),
    ]
    assert told(write(tmp_path, ["SMILES Name", "CCO a"], "h.smi")) == [(2, "CCO", "a")]
    table = write(tmp_path, ["id,Canonical_SMILES,y", '1,"CC(=O)O",2', ",,", "2,CCN,x"], "t.csv")
    assert told(table) == [(2, "CC(=O)O", "1"), (4, "CCN", "2")]
    assert [one.smiles for one in read_records(table, "id")] == ["1", "2"]
    assert [dict(one.properties) for one in read_records(table)] == [{"y": "2"}, {"y": "x"}]
    packed = tmp_path / "t2.csv.gz"
    packed.write_bytes(gzip.compress(table.read_bytes()))
    assert list(read_records(packed)) == list(read_records(table))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_any_delimiter_a_byte_order_mark_and_no_header(
    delimiter: str, mark: str, tmp_path: Path
) -> None:
    rows = [delimiter.join(cells) for cells in (("m1", "CC(=O)O", "1.5"), ("m2", "CCN", "2"))]
    path = tmp_path / "t.tsv"
    path.write_text(mark + "\n".join(rows) + "\n", encoding="utf-8")
    assert told(path) == [(1, "CC(=O)O", ""), (2, "CCN", "")]
    assert told(path, column="2", id_column="1") == [(1, "CC(=O)O", "m1"), (2, "CCN", "m2")]
    head = delimiter.join(("name", "Smiles", "y"))
    path.write_text(mark + "\n".join([head, *rows]) + "\n", encoding="utf-8")
    assert told(path) == [(2, "CC(=O)O", "m1"), (3, "CCN", "m2")]
    assert told(path, id_column="y")[0] == (2, "CC(=O)O", "1.5")


def test_a_field_of_over_128_kib_does_no_harm(tmp_path: Path) -> None:
    path = write(tmp_path, ["smiles,note", f"CCO,{'x' * 200_000}", "CCN,"], "t.csv")
    assert [row[1] for row in told(path)] == ["CCO", "CCN"]


def blocks(rows: list[str]) -> str:
    text = ""
    for number, row in enumerate(rows):
        found = Chem.MolFromSmiles(row)
        found.SetProp("_Name", f"m{number}")
        text += Chem.MolToMolBlock(found) + f"> <y>\n{number}.5\n\n> <note>\ntwo\nlines\n\n$$$$\n"
    return text


def test_sdf_with_properties_packed_or_not(tmp_path: Path) -> None:
    path = tmp_path / "set.sdf"
    broken = "bad\n\n\n  1  1  nonsense\nM  END\n$$$$\n"
    path.write_text(blocks(GOOD[:3]) + broken + blocks(GOOD[3:4]))
    found = list(read_records(path))
    assert [one.row for one in found] == [1, 2, 3, 4, 5]
    assert [canonical(one.smiles) for one in found[:3]] == [canonical(row) for row in GOOD[:3]]
    assert found[1].id == "m1"
    assert found[1].properties == {"y": "1.5", "note": "two\nlines"}
    assert found[3].smiles == ""
    packed = tmp_path / "set.sdf.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert list(read_records(packed)) == found
    with pytest.raises(InputError, match=r"set\.sdf, row 4: '' is no molecule"):
        SmilesFile(path=str(path)).setup()


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "set.parquet"
    table = pyarrow.table({"ID": ["a", "b", "c"], "smiles": ["CCO", None, "CCN"], "y": [1.5, 2, 3]})
    parquet.write_table(table, path)
    assert told(path) == [(1, "CCO", "a"), (3, "CCN", "c")]
    assert [one.number("y", "set") for one in read_records(path)] == [1.5, 3.0]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"set\.parquet: cannot be read"):
        list(read_records(path))


def test_a_property_with_text_is_named() -> None:
    record = Record(row=7, smiles="C", properties={"y": "high", "z": " 2 ", "empty": ""})
    assert record.number("z", "t.csv") == 2
    assert math.isnan(record.number("empty", "t.csv"))
    with pytest.raises(InputError, match=r"t\.csv, row 7: has y = 'high', which is no number"):
        record.number("y", "t.csv")
    with pytest.raises(InputError, match="has no property w; its properties are y, z, empty"):
        record.number("w", "t.csv")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"id,y\n1,2\n", "no column called smiles; its columns are id, y"),
        ("t.docx", b"", "no table of molecules"),
        ("t.csv.gz", gzip.compress(b"smiles\nC\n", mtime=0)[:-9], "cannot be unpacked"),
        ("t.sdf.gz", gzip.compress(b"x\n" * 900, mtime=0)[:-9], "cannot be unpacked"),
        ("t.smi", b"\xff\xfe\x00", "is not UTF-8"),
        ("t.csv", b"", "is empty"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        list(read_records(tmp_path / name))
    with pytest.raises(UserError, match="there is no such file"):
        list(read_records(tmp_path / "none.csv"))


def test_a_scaffold_is_on_one_side_and_rare_ones_are_tested_on(tmp_path: Path) -> None:
    rows = [f"c1ccccc1{'C' * n}" for n in range(12)]  # benzene, twelve times
    rows += [f"C1CCCCC1{'C' * n}" for n in range(6)] + [f"C1CCNCC1{'O' * n}" for n in range(2)]
    rows += ["OC1CCCC1", "C1CCC1N", "C1CC1N", "c1ccncc1"]
    data = SmilesFile(path=str(write(tmp_path, rows)), val=3, test=3, split=ScaffoldSplit())
    data.setup()
    sides = [{scaffold(one.smiles) for one in part} for part in data.splits.values()]
    assert sum(map(len, data.splits.values())) == len(rows)
    assert len(set().union(*sides)) == sum(map(len, sides)) == 7
    assert "c1ccccc1" in {scaffold(one.smiles) for one in data.splits["train"]}
    assert all(len(data.splits[name]) >= 3 for name in ("val", "test"))


def test_the_latest_are_tested_on(tmp_path: Path) -> None:
    rows = [f"{'C' * (n + 1)},{2000 + (7 * n) % 20}" for n in range(20)]
    path = write(tmp_path, ["smiles,year", *rows], "t.csv")
    data = SmilesFile(path=str(path), val=4, test=0.25, split=TimeSplit("year"))
    data.setup()
    years = {name: [one.number("year", "t") for one in part] for name, part in data.splits.items()}
    assert max(years["train"]) < min(years["val"]) <= max(years["val"]) < min(years["test"])
    assert [len(years[name]) for name in ("train", "val", "test")] == [11, 4, 5]
    broken = write(tmp_path, ["smiles,year", *rows, "CCCO,"], "b.csv")
    with pytest.raises(InputError, match=r"b\.csv, row 22: has no year to split by"):
        SmilesFile(path=str(broken), split=TimeSplit("year")).setup()


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
    data.use(SmilesTokenizer(vocabulary=(*SPECIALS, *data.tokens)))
    return data


def test_splits_are_disjoint_and_a_function_of_the_seed(tmp_path: Path) -> None:
    path = write(tmp_path, ["C" * (n + 1) for n in range(40)])
    data = ready(path, val=8, test=0.25, max_length=50)
    parts = [{one.smiles for one in data.splits[name]} for name in ("train", "val", "test")]
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
            assert bool((row[length:] == 0).all())
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


def test_molecules_in_a_row_each_have_their_start_and_end_and_other_neighbours(
    tmp_path: Path,
) -> None:
    rows = ["C" * n + "O" for n in range(1, 21)]
    data = ready(write(tmp_path, rows), val=5, in_a_row=3, batch_size=4)
    single = {tuple(data.tokenizer.encode(one.smiles)) for one in data.splits["train"]}
    behind = set()
    torch.manual_seed(0)
    for turn in range(4):
        for place, record in enumerate(data.splits["train"]):
            row = data.train_set[place].tolist()
            ends = [at + 1 for at, token in enumerate(row) if token == data.tokenizer.end]
            parts = [tuple(row[a:b]) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
            assert len(parts) == 3
            assert parts[0] == tuple(data.tokenizer.encode(record.smiles))
            assert set(parts) <= single
            behind.add((turn, *parts[1:]))
    assert len(behind) > 50
    held = [data.val_set[place].tolist() for place in range(len(data.val_set))]
    assert held == [data.tokenizer.encode(one.smiles) for one in data.splits["val"]]
    tokens, lengths = next(iter(data.train_dataloader()))
    assert tokens.shape == (4, int(lengths.max()))
    with pytest.raises(UserError, match="in_a_row is 0"):
        SmilesFile(path="molecules.smi", in_a_row=0)


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
        sides = [{canonical(one.smiles) for one in part} for part in data.splits.values()]
        assert sum(len(part) for part in data.splits.values()) == 20
        assert len(set().union(*sides)) == sum(len(side) for side in sides) == 10
        assert min(len(side) for side in sides) > 0


def test_a_molecule_longer_than_any_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="a SMILES of 200,000 characters; at most 10,000"):
        split_smiles("C" * 200_000, "here")


@pytest.mark.parametrize("token", ["CC", "c1ccccc1", "Ġthe", "C(=O)"])
def test_pieces_are_told_from_atoms(token: str) -> None:
    assert first_piece(["<pad>", "C", "[nH]", "Cl", "%12", "(", "<0x0A>"]) is None
    assert first_piece(["C", token]) == token


def test_each_molecule_of_a_picture_has_its_own_scale(tmp_path: Path) -> None:
    def width(rows: list[str]) -> int:
        save_grid(rows, tmp_path / "grid.png")
        with Image.open(tmp_path / "grid.png") as picture:
            drawn = np.asarray(picture.convert("L"))[:, :260] < 200
        return int(np.ptp(np.flatnonzero(drawn.any(axis=0))))

    alone = width(["c1ccccc1"])
    assert alone > 150
    assert abs(width(["c1ccccc1", "C" * 60]) - alone) <= 2
