"""Graphs of different sizes in one batch."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.molecules.graphs.molecular_graph import MolecularGraph


class Graphs(NamedTuple):
    """The graphs of a batch, filled up with zeros.

    Args:
        atoms: (B, N, 9).
        degrees: (B, N).
        distances: (B, N, N).
        bonds: (B, E + 1, 3).
        hops: (B, N, N, hops).
        lengths: Atoms of each graph, (B,).
    """

    atoms: Tensor
    degrees: Tensor
    distances: Tensor
    bonds: Tensor
    hops: Tensor
    lengths: Tensor


def collate(items: Sequence[MolecularGraph]) -> Graphs:
    """Returns graphs as one batch."""
    atoms = max(len(item.atoms) for item in items)
    bonds = max(len(item.bonds) for item in items)
    sizes = ((atoms,), (atoms,), (atoms, atoms), (bonds,), (atoms, atoms))
    parts = {
        name: torch.stack([filled(getattr(item, name), size) for item in items])
        for name, size in zip(MolecularGraph._fields, sizes, strict=True)
    }
    return Graphs(**parts, lengths=torch.tensor([len(item.atoms) for item in items]))


def filled(tensor: Tensor, size: tuple[int, ...]) -> Tensor:
    """Returns a tensor with zeros behind its leading axes.

    Args:
        tensor: The tensor.
        size: New sizes of the leading axes.
    """
    behind = [(0, new - old) for new, old in zip(size, tensor.shape, strict=False)]
    behind += [(0, 0)] * (tensor.ndim - len(size))
    return F.pad(tensor, [end for pair in reversed(behind) for end in pair])
