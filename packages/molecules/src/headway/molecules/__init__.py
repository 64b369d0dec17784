"""Molecules: a Llama over SMILES that generates new ones."""
