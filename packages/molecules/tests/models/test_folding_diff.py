"""FoldingDiff: angles, files and coordinates are one thing in three forms, and noise goes round the circle."""

import gzip
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from headway.core.errors import InputError, UserError
from headway.core.generation.diffusion import CosineDiffusion
from headway.molecules.metrics import ramachandran_distance
from headway.molecules.models import FoldingDiff
from headway.molecules.proteins import (
    angles_of,
    coordinates_of,
    made_backbone,
    read_backbones,
    wrapped,
    write_backbone,
)


def backbone(length: int = 20, seed: int = 0) -> Tensor:
    return made_backbone(length, torch.Generator().manual_seed(seed)).double()


def read_parts(angles: Tensor) -> Tensor:
    """Angles without those of the ends, which no atom follows from."""
    kept = angles.clone()
    kept[0, 0] = 0
    kept[-1, [1, 2, 4, 5]] = 0
    return kept


def test_angles_and_coordinates_are_each_other() -> None:
    angles = read_parts(backbone())
    places = coordinates_of(angles)
    assert wrapped(angles_of(places) - angles).abs().max() < 1e-10
    bonds = (places.flatten(0, 1)[1:] - places.flatten(0, 1)[:-1]).norm(dim=-1)
    torch.testing.assert_close(bonds[:3], torch.tensor([1.46, 1.54, 1.34]).double())
    both = coordinates_of(torch.stack([angles, backbone(seed=1)]))
    torch.testing.assert_close(both[0], places)


def test_a_helix_is_right_handed_and_rises_by_one_and_a_half_angstrom() -> None:
    degrees = torch.tensor([-57.8, -47.0, 180.0, 111.0, 117.2, 121.7]).double()
    atoms = coordinates_of((degrees * math.pi / 180).expand(30, 6))[:, 1]
    steps = atoms[1:] - atoms[:-1]
    axis = torch.nn.functional.normalize((atoms[22:] - atoms[:8]).mean(0), dim=0)
    assert (steps @ axis).mean() == pytest.approx(1.5, abs=0.1)
    turned = torch.linalg.cross(steps[:-1], steps[1:]) @ axis
    assert bool((turned > 0).all())


def test_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    pytest.importorskip("gemmi")
    places = coordinates_of(backbone())
    write_backbone(places, tmp_path / "x.pdb")
    (found,) = read_backbones(tmp_path / "x.pdb")
    torch.testing.assert_close(found.double(), places, rtol=0, atol=1e-3)
    lines = (tmp_path / "x.pdb").read_text().splitlines()
    # A residue without its C, and one that is missing: the chain is in three pieces.
    cut = [line for line in lines if not (line[22:26].strip() == "5" and line[13:15] == "C ")]
    cut = [line for line in cut if line[22:26].strip() != "12"]
    with gzip.open(tmp_path / "y.pdb.gz", "wt") as file:
        file.write("\n".join(cut))
    assert [len(piece) for piece in read_backbones(tmp_path / "y.pdb.gz")] == [4, 6, 8]
    (tmp_path / "z.pdb").write_text("nothing\n")
    with pytest.raises(InputError, match=r"z\.pdb"):
        list(read_backbones(tmp_path / "z.pdb"))


class Flat(FoldingDiff):
    """The plain part in the place of the circle: angles are numbers on a line."""

    def on_circle(self, angles: Tensor) -> Tensor:
        return angles


def near_the_seam(kind: type[FoldingDiff], seed: int = 0) -> float:
    """Trains on angles about 180 degrees; returns how many of those generated are within 25 degrees of it."""
    torch.manual_seed(seed)
    process = CosineDiffusion(50)
    model = kind(dim=32, depth=1, heads=2, max_length=8, dropout=0.0, process=process)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(250):
        angles = wrapped(math.pi + 0.15 * torch.randn(32, 8, 6))
        optimizer.zero_grad()
        model.loss(angles).backward()
        optimizer.step()
    generator = torch.Generator().manual_seed(seed)
    found = model.eval().sample(torch.full((32,), 8), generator=generator)
    return float((wrapped(found - math.pi).abs() < 25 * math.pi / 180).float().mean())


def test_angles_at_the_seam_are_generated_by_noise_on_the_circle_alone() -> None:
    # Seeds 0 to 4: 0.62 to 0.70, and 0.13 to 0.15.
    assert near_the_seam(FoldingDiff) > 0.5
    assert near_the_seam(Flat) < 0.3


def test_padding_changes_nothing_and_turns_are_no_difference() -> None:
    torch.manual_seed(0)
    model = FoldingDiff(dim=32, depth=2, heads=2, max_length=16).double().eval()
    angles, step = wrapped(torch.randn(2, 9, 6).double()), torch.tensor([3, 700])
    both = model(
        torch.cat([angles, torch.full((2, 4, 6), 7.0).double()], 1),
        step,
        lengths=torch.tensor([9, 9]),
    )
    torch.testing.assert_close(both[:, :9], model(angles, step))
    first, second = (
        model.loss(x, generator=torch.Generator().manual_seed(1))
        for x in (angles, angles + 2 * math.pi)
    )
    torch.testing.assert_close(first, second)
    found = model.sample(torch.tensor([5, 9]), steps=4, generator=torch.Generator().manual_seed(0))
    assert found.shape == (2, 9, 6)
    assert found.abs().max() <= math.pi
    with pytest.raises(UserError, match="17 residues"):
        model.sample(torch.tensor([17]))


def test_distance_of_maps() -> None:
    helix, strand = torch.tensor([[-1.1, -0.8]]), torch.tensor([[-2.1, 2.3]])
    both = torch.cat([helix, strand])
    assert ramachandran_distance(helix, helix) == 0
    assert ramachandran_distance(helix, strand) == 1
    assert ramachandran_distance(both, strand) == 0.5
