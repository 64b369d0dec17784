"""Data of molecules: tables of SMILES, their tokens, what RDKit says about them."""

from headway.molecules.data.shipped import find_file, moses_file, nci_file
from headway.molecules.data.smiles_file import Molecules, SmilesFile
from headway.molecules.data.tokenizer import SmilesTokenizer
from headway.molecules.notation import split_smiles

__all__ = [
    "Molecules",
    "SmilesFile",
    "SmilesTokenizer",
    "find_file",
    "moses_file",
    "nci_file",
    "split_smiles",
]
