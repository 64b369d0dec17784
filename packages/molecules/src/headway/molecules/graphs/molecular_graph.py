"""A molecule as the numbers that a graph transformer reads."""

from typing import NamedTuple

import numpy as np
import torch
from rdkit import Chem
from torch import Tensor

from headway.molecules.graphs.features import (
    ATOM_FEATURES,
    BOND_FEATURES,
    atom_features,
    bond_features,
)
from headway.molecules.graphs.paths import shortest_paths

# Every feature has its own numbers in one table; 0 is padding.
_SECTION = 512


class MolecularGraph(NamedTuple):
    """Atoms, bonds and ways of a molecule.

    Args:
        atoms: Numbers of the features of each atom, (N, 9).
        degrees: Neighbours of each atom and one, (N,).
        distances: Bonds between two atoms and one, (N, N).
        bonds: Numbers of the features of each bond, (E + 1, 3); the first is none, all zeros.
        hops: Which bond is the first, second ... on the way between two atoms, (N, N, hops); 0 behind it.
    """

    atoms: Tensor
    degrees: Tensor
    distances: Tensor
    bonds: Tensor
    hops: Tensor


def graph(molecule: Chem.Mol, *, hops: int = 5) -> MolecularGraph:
    """Returns the graph of a molecule, hydrogens left out.

    Args:
        molecule: The molecule.
        hops: Bonds of each way that are kept.
    """
    count = molecule.GetNumAtoms()
    adjacency = np.asarray(Chem.GetAdjacencyMatrix(molecule), dtype=bool)
    ways = shortest_paths(adjacency, hops)
    number = np.zeros((count, count), dtype=np.int64)
    bonds = [[0] * BOND_FEATURES]
    for place, bond in enumerate(molecule.GetBonds(), start=1):
        ends = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        number[ends], number[ends[::-1]] = place, place
        bonds.append(bond_numbers(bond))
    # The bond of each step: from the node before, the first time the start itself.
    before = np.concatenate(
        [np.broadcast_to(np.arange(count)[:, None, None], (count, count, 1)), ways.nodes[..., :-1]],
        axis=-1,
    )
    there = ways.nodes >= 0
    on_way = np.where(there, number[np.where(there, before, 0), np.where(there, ways.nodes, 0)], 0)
    atoms = [atom_numbers(atom) for atom in molecule.GetAtoms()]
    return MolecularGraph(
        torch.tensor(atoms).reshape(count, ATOM_FEATURES),
        torch.from_numpy(adjacency.sum(axis=1) + 1),
        torch.from_numpy(ways.distances + 1),
        torch.tensor(bonds),
        torch.from_numpy(on_way),
    )


def atom_numbers(atom: Chem.Atom) -> list[int]:
    """Returns the numbers of the features of an atom."""
    return [value + 2 + _SECTION * at for at, value in enumerate(atom_features(atom))]


def bond_numbers(bond: Chem.Bond) -> list[int]:
    """Returns the numbers of the features of a bond."""
    return [value + 3 + _SECTION * at for at, value in enumerate(bond_features(bond))]
