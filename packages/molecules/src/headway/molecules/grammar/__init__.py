"""Which tokens may follow in a SMILES, so that what is written is one."""

from headway.molecules.grammar.constraint import ValidSmiles

__all__ = ["ValidSmiles"]
