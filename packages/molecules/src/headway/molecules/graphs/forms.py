"""The forms in which models read a molecule."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rdkit import Chem
from torch import Tensor

from headway.molecules.graphs.affinity_graph import affinity_graph, collate_affinity
from headway.molecules.graphs.batch import collate
from headway.molecules.graphs.molecular_graph import graph


class GraphForm(NamedTuple):
    """Makes graphs of molecules, and batches of graphs.

    Args:
        read: Makes the graph of a molecule; it has ``atoms``.
        collate: Makes a batch of graphs: what a model takes, in order.
    """

    read: Callable[[Chem.Mol], Any]
    collate: Callable[[Sequence[Any]], tuple[Tensor, ...]]


FORMS: Mapping[str, GraphForm] = {
    "ways": GraphForm(graph, collate),
    "affinity": GraphForm(affinity_graph, collate_affinity),
}
"""By the name that a model gives as its ``graphs``."""
