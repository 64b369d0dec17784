"""Molecules of a file as graphs, with their properties."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from headway.molecules.chemistry import checked
from headway.molecules.data.property_file import PropertyFile
from headway.molecules.data.records import Record
from headway.molecules.graphs import FORMS, GraphForm


class LabelledGraphs(Dataset[tuple[Any, Tensor]]):
    """Graphs of molecules with their labels; a graph is made when it is first asked for, and kept.

    Args:
        records: The molecules.
        labels: Of each, (N, properties); nan where nothing is known.
        form: Makes the graphs.
    """

    def __init__(self, records: Sequence[Record], labels: Tensor, form: GraphForm) -> None:
        self.records, self.labels, self.form = records, labels, form
        self._made: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[Any, Tensor]:
        if index not in self._made:
            record = self.records[index]
            self._made[index] = self.form.read(checked(record.smiles, f"row {record.row}"))
        return self._made[index], self.labels[index]


class PropertyGraphs(PropertyFile):
    """As ``PropertyFile``, for models that read graphs; ``randomize`` changes nothing.

    A batch is what the model reads (``graphs.Graphs`` or ``graphs.AffinityGraphs``), and labels
    (B, properties).

    Attributes:
        form: The form of the graphs, a name of ``graphs.FORMS``; a model says which it reads.
    """

    form: str = "ways"

    def dataset(self, records: Sequence[Record], *, randomize: bool) -> Dataset[Any]:
        """Returns the items of a part: graphs and labels."""
        return LabelledGraphs(records, self._labels(records), FORMS[self.form])

    def collate(self, items: list[Any]) -> tuple[Tensor, ...]:
        """Returns the graphs as one batch, and labels."""
        graphs, labels = zip(*items, strict=True)
        return *FORMS[self.form].collate(graphs), torch.stack(labels)
