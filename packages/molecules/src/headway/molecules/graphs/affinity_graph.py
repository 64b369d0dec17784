"""A molecule as a sequence of atoms in the order of its affinity tree."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from rdkit import Chem
from torch import Tensor

from headway.molecules.graphs.affinity import Edge, affinity_levels, tree_order
from headway.molecules.graphs.batch import filled
from headway.molecules.graphs.features import ATOM_FEATURES, BOND_FEATURES
from headway.molecules.graphs.molecular_graph import atom_numbers, bond_numbers


class AffinityGraph(NamedTuple):
    """Atoms in the order of the tree, with their neighbours and clusters.

    Args:
        atoms: Numbers of the features of each atom, (N, 9).
        neighbours: Places of the neighbours of each atom, counted from 1, (N, K); 0 behind the last.
        links: Numbers of the features of the bonds to them, (N, K, 3).
        clusters: The cluster of each atom after each round, the first one first, (N, levels).
    """

    atoms: Tensor
    neighbours: Tensor
    links: Tensor
    clusters: Tensor


class AffinityGraphs(NamedTuple):
    """The same of a batch, filled up with zeros.

    Args:
        atoms: (B, N, 9).
        neighbours: (B, N, K).
        links: (B, N, K, 3).
        clusters: (B, N, levels).
        lengths: Atoms of each graph, (B,).
    """

    atoms: Tensor
    neighbours: Tensor
    links: Tensor
    clusters: Tensor
    lengths: Tensor


def affinity_graph(molecule: Chem.Mol) -> AffinityGraph:
    """Returns a molecule, hydrogens left out; how its atoms are numbered changes nothing.

    Two neighbours are as much alike as many of their features agree.

    Args:
        molecule: The molecule.
    """
    ranks = list(Chem.CanonicalRankAtoms(molecule, breakTies=True))
    atoms = [atom_numbers(atom) for atom in molecule.GetAtoms()]
    bonds = {
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()): bond_numbers(bond)
        for bond in molecule.GetBonds()
    }
    edges = [
        Edge(*ends, affinity=sum(map(int.__eq__, atoms[ends[0]], atoms[ends[1]]))) for ends in bonds
    ]
    levels = affinity_levels(ranks, edges)
    order = tree_order(ranks, levels)
    place = {atom: number for number, atom in enumerate(order)}
    beside: list[list[tuple[int, list[int]]]] = [[] for _ in order]
    for (start, end), numbers in bonds.items():
        beside[place[start]].append((place[end] + 1, numbers))
        beside[place[end]].append((place[start] + 1, numbers))
    most = max(1, *map(len, beside))
    nothing = (0, [0] * BOND_FEATURES)
    rows = [[*sorted(row), *[nothing] * (most - len(row))] for row in beside]
    return AffinityGraph(
        torch.tensor([atoms[atom] for atom in order]).reshape(len(order), ATOM_FEATURES),
        torch.tensor([[number for number, _ in row] for row in rows]),
        torch.tensor([[numbers for _, numbers in row] for row in rows]),
        torch.tensor([[level[atom] for level in levels] for atom in order]),
    )


def collate_affinity(items: Sequence[AffinityGraph]) -> AffinityGraphs:
    """Returns graphs as one batch."""
    atoms = max(len(item.atoms) for item in items)
    most = max(item.neighbours.shape[1] for item in items)
    sizes = ((atoms,), (atoms, most), (atoms, most), (atoms,))
    parts = {
        name: torch.stack([filled(getattr(item, name), size) for item in items])
        for name, size in zip(AffinityGraph._fields, sizes, strict=True)
    }
    return AffinityGraphs(**parts, lengths=torch.tensor([len(item.atoms) for item in items]))
