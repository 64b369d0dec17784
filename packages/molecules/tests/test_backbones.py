"""Backbones from the recipe to files, and what is wrong with inputs."""

import json
from pathlib import Path

import pytest
import torch

from headway.core.cli.main import main
from headway.core.errors import InputError, UserError
from headway.molecules.data import Backbones
from headway.molecules.proteins import coordinates_of, made_backbone, read_backbones, write_backbone

pytest.importorskip("gemmi")


@pytest.fixture(autouse=True)
def folder_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path / "runs"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "structures"
    made.mkdir()
    for number, length in enumerate((12, 20, 30, 5)):
        chain = made_backbone(length, torch.Generator().manual_seed(number))
        write_backbone(coordinates_of(chain.double()), made / f"{number}.pdb")
    return made


def test_from_the_recipe_to_files(folder: Path, tmp_path: Path, capsys) -> None:
    words = [
        "fit",
        "-c",
        "molecules/folding_diff",
        "--trainer.max_steps",
        "2",
        "--model.schedule",
        "null",
    ]
    words += ["--trainer.accelerator", "cpu", "--data.path", str(folder), "--data.min_length", "10"]
    words += [
        "--data.max_length",
        "16",
        "--model.samples",
        "2",
        "--model.steps",
        "3",
        "--data.val",
        "1",
    ]
    words += [
        "--model.backbone.dim",
        "16",
        "--model.backbone.depth",
        "1",
        "--model.backbone.heads",
        "2",
    ]
    assert main(words) == 0
    run = tmp_path / "runs" / "molecules" / "folding_diff" / "1"
    assert (run / "pictures" / "val_ramachandran.png").is_file()
    capsys.readouterr()
    out, plot = tmp_path / "made", tmp_path / "plot.png"
    ask = [
        "backbones",
        "-m",
        str(run),
        "-n",
        "3",
        "--length",
        "11",
        "--steps",
        "4",
        "-o",
        str(out),
        "--device",
        "cpu",
    ]
    assert main([*ask, "--plot", str(plot), "--json", "--batch-size", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["backbones"] == 3
    assert plot.is_file()
    chains = [piece for file in sorted(out.glob("*.pdb")) for piece in read_backbones(file)]
    assert [len(chain) for chain in chains] == [11, 11, 11]
    assert main(ask) == 2  # nothing is overwritten
    assert main([*ask, "--overwrite", "--length", "65"]) == 2
    assert "65 residues" in capsys.readouterr().err


def test_chains_of_a_folder(folder: Path) -> None:
    data = Backbones(path=str(folder), val=1, min_length=10, max_length=16, batch_size=4)
    data.setup()
    assert data.train_set is not None
    assert data.val_set is not None
    assert len(data.train_set) == 2  # pyright: ignore[reportArgumentType]
    angles, lengths = data.collate([data.train_set[0], data.train_set[1], data.val_set[0]])
    assert angles.shape[1:] == (16, 6)
    assert sorted(lengths.tolist()) == [12, 16, 16]
    assert data.mean().abs().max() <= torch.pi


def test_what_is_wrong_is_said(folder: Path, tmp_path: Path) -> None:
    (folder / "bad.pdb").write_text("no structure\n")
    with pytest.raises(InputError, match=r"bad\.pdb"):
        Backbones(path=str(folder), min_length=4).setup()
    kept = Backbones(path=str(folder), min_length=4, on_invalid="skip")
    kept.setup()
    assert kept.invalid.errors[0].name == "bad.pdb"
    with pytest.raises(UserError, match="has 1 structures"):
        Backbones(path=str(folder), min_length=25, on_invalid="skip").setup()
    with pytest.raises(UserError, match="is no folder"):
        Backbones(path=str(tmp_path / "none")).setup()
    with pytest.raises(UserError, match="in this order"):
        Backbones(path="made", min_length=50, max_length=40)
