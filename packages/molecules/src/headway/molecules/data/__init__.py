"""Data of molecules: files of many kinds, records, splits."""

from typing import TYPE_CHECKING

from headway.core.lazy import lazily
from headway.molecules.data.readers import read_records
from headway.molecules.data.records import Record
from headway.molecules.data.splits import GroupSplit, RandomSplit, ScaffoldSplit, Split, TimeSplit
from headway.molecules.shipped import find_file, moses_file, nci_file

if TYPE_CHECKING:
    from headway.molecules.data.backbones import Backbones
    from headway.molecules.data.labelled_smiles import LabelledSmiles
    from headway.molecules.data.property_file import PropertyFile
    from headway.molecules.data.property_graphs import PropertyGraphs
    from headway.molecules.data.smiles_file import Molecules, SmilesFile
    from headway.molecules.data.target_pairs import TargetPairs

__all__ = [
    "Backbones",
    "GroupSplit",
    "LabelledSmiles",
    "Molecules",
    "PropertyFile",
    "PropertyGraphs",
    "RandomSplit",
    "Record",
    "ScaffoldSplit",
    "SmilesFile",
    "Split",
    "TargetPairs",
    "TimeSplit",
    "find_file",
    "moses_file",
    "nci_file",
    "read_records",
]

# They need Lightning, which loads when one of them does.
__getattr__ = lazily(
    __name__,
    {
        "Backbones": "backbones",
        "LabelledSmiles": "labelled_smiles",
        "Molecules": "smiles_file",
        "PropertyFile": "property_file",
        "PropertyGraphs": "property_graphs",
        "SmilesFile": "smiles_file",
        "TargetPairs": "target_pairs",
    },
)
