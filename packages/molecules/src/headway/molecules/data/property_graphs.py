"""Molecules of a file as graphs, with their properties."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from headway.molecules.chemistry import checked
from headway.molecules.data.property_file import PropertyFile
from headway.molecules.data.records import Record
from headway.molecules.graphs import MolecularGraph, collate, graph


class LabelledGraphs(Dataset[tuple[MolecularGraph, Tensor]]):
    """Graphs of molecules with their labels; a graph is made when it is first asked for, and kept.

    Args:
        records: The molecules.
        labels: Of each, (N, properties); nan where nothing is known.
    """

    def __init__(self, records: Sequence[Record], labels: Tensor) -> None:
        self.records, self.labels = records, labels
        self._made: dict[int, MolecularGraph] = {}

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[MolecularGraph, Tensor]:
        if index not in self._made:
            record = self.records[index]
            self._made[index] = graph(checked(record.smiles, f"row {record.row}"))
        return self._made[index], self.labels[index]


class PropertyGraphs(PropertyFile):
    """As ``PropertyFile``, for models that read graphs; ``randomize`` changes nothing.

    A batch is what ``graphs.Graphs`` has, and labels (B, properties).
    """

    def dataset(self, records: Sequence[Record], *, randomize: bool) -> Dataset[Any]:
        """Returns the items of a part: graphs and labels."""
        return LabelledGraphs(records, self._labels(records))

    def collate(self, items: list[Any]) -> tuple[Tensor, ...]:
        """Returns the graphs as one batch, and labels."""
        graphs, labels = zip(*items, strict=True)
        return *collate(graphs), torch.stack(labels)
