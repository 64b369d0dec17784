"""Backbones in files of the Protein Data Bank."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headway.core.errors import InputError, UserError, one_line

ATOMS = ("N", "CA", "C")
SUFFIXES = (".pdb", ".ent", ".cif", ".pdb.gz", ".ent.gz", ".cif.gz")
# A bond between residues is 1.33 angstrom long; where it is much longer, residues are missing.
_BROKEN = 2.0


def read_backbones(file: Path) -> Iterator[Tensor]:
    """Yields the unbroken pieces of the chains of a structure's first model, (N, 3, 3) in angstrom.

    A residue without one of N, CA and C, or too far from the one before, begins a new piece.

    Args:
        file: A ``.pdb``, ``.ent`` or ``.cif`` file, packed (``.gz``) or not.

    Raises:
        InputError: If it cannot be read or has no backbone.
        UserError: If gemmi is not installed.
    """
    if importlib.util.find_spec("gemmi") is None:
        raise UserError("structures are read with gemmi: pip install 'headway[proteins]'")
    import gemmi

    try:
        structure = gemmi.read_structure(str(file))
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(file.name, f"is no structure: {one_line(error)}") from error
    found = False
    for chain in structure[0] if len(structure) else ():
        for piece in _pieces(chain):
            found = True
            yield torch.tensor(piece)
    if not found:
        raise InputError(file.name, "has no residue with the atoms N, CA and C")


def write_backbone(backbone: Tensor, file: Path) -> None:
    """Writes a backbone of glycines as a PDB file.

    Args:
        backbone: Places of N, CA and C, (N, 3, 3) in angstrom.
        file: Where to.
    """
    lines = []
    for place, residue in enumerate(backbone.tolist(), start=1):
        for number, (name, (x, y, z)) in enumerate(zip(ATOMS, residue, strict=True), start=1):
            serial = 3 * (place - 1) + number
            lines.append(
                f"ATOM  {serial:5d}  {name:<3s} GLY A{place:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00"
                f"           {name[0]}  "
            )
    file.write_text("\n".join([*lines, "TER", "END", ""]))


def _pieces(chain: Any) -> Iterator[list[list[list[float]]]]:
    piece: list[list[list[float]]] = []
    for residue in chain.first_conformer():
        atoms = [residue.find_atom(name, "*") for name in ATOMS]
        places = [atom.pos.tolist() for atom in atoms if atom is not None]
        whole = len(places) == len(ATOMS)
        if piece and (not whole or _distance(piece[-1][2], places[0]) > _BROKEN):
            yield piece
            piece = []
        if whole:
            piece.append(places)
    if piece:
        yield piece


def _distance(one: list[float], other: list[float]) -> float:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5
