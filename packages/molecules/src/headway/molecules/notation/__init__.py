"""Notations of molecules and how each is cut into tokens; every text is a SMILES."""

from headway.molecules.notation.adopted import is_molecular, smiles_tokenizer
from headway.molecules.notation.property_tokens import PropertyTokenizer
from headway.molecules.notation.proteins import PairTokenizer, ProteinTokenizer
from headway.molecules.notation.selfies import SelfiesTokenizer
from headway.molecules.notation.smiles import SmilesTokenizer, split_smiles

__all__ = [
    "PairTokenizer",
    "PropertyTokenizer",
    "ProteinTokenizer",
    "SelfiesTokenizer",
    "SmilesTokenizer",
    "is_molecular",
    "smiles_tokenizer",
    "split_smiles",
]
