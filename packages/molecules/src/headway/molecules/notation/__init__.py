"""Notations of molecules and how each is cut into tokens; every text is a SMILES."""

from headway.molecules.notation.adopted import is_molecular, smiles_tokenizer
from headway.molecules.notation.property_tokens import PropertyTokenizer
from headway.molecules.notation.proteins import PairTokenizer, ProteinTokenizer
from headway.molecules.notation.safe import (
    SafePieceTokenizer,
    SafeTexts,
    SafeTokenizer,
    encode_safe,
    joined_fragments,
    repaired,
)
from headway.molecules.notation.selfies import SelfiesTokenizer
from headway.molecules.notation.smiles import SmilesTokenizer, split_smiles

__all__ = [
    "PairTokenizer",
    "PropertyTokenizer",
    "ProteinTokenizer",
    "SafePieceTokenizer",
    "SafeTexts",
    "SafeTokenizer",
    "SelfiesTokenizer",
    "SmilesTokenizer",
    "encode_safe",
    "is_molecular",
    "joined_fragments",
    "repaired",
    "smiles_tokenizer",
    "split_smiles",
]
