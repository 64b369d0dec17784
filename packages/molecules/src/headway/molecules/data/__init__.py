"""Data of molecules: tables of SMILES, their tokens, what RDKit says about them."""

from typing import TYPE_CHECKING

from headway.core.lazy import lazily
from headway.molecules.data.shipped import find_file, moses_file, nci_file
from headway.molecules.data.tokenizer import SmilesTokenizer
from headway.molecules.notation import split_smiles

if TYPE_CHECKING:
    from headway.molecules.data.smiles_file import Molecules, SmilesFile

__all__ = [
    "Molecules",
    "SmilesFile",
    "SmilesTokenizer",
    "find_file",
    "moses_file",
    "nci_file",
    "split_smiles",
]

# They need Lightning, which loads when one of them does.
__getattr__ = lazily(
    __name__,
    {
        "Molecules": "smiles_file",
        "SmilesFile": "smiles_file",
    },
)
