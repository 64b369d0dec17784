"""The tokenizer of a published model, where molecules are its texts."""

from headway.core.language import NumberedTokens, SymbolTokenizer, Tokenizer
from headway.molecules.notation.smiles import SmilesTokenizer, first_piece


def smiles_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """Returns what cuts molecules for a model: of a bare list of atoms and bonds, the tokenizer of SMILES.

    Files such as ``vocab.json`` have tokens and do not say how a text is cut into them.

    Args:
        tokenizer: That of the model.
    """
    if not isinstance(tokenizer, NumberedTokens):
        return tokenizer
    special = {tokenizer.vocabulary[number] for number in tokenizer.specials()}
    if first_piece(token for token in tokenizer.vocabulary if token not in special) is not None:
        return tokenizer
    return SmilesTokenizer(**tokenizer.init_args)


def is_molecular(tokenizer: Tokenizer) -> bool:
    """Whether the texts of a tokenizer are molecules, and not lines of another notation."""
    return not isinstance(tokenizer, SymbolTokenizer)
