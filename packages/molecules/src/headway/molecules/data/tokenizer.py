"""Atom-wise tokens of SMILES."""

import re
from collections.abc import Iterable, Sequence

from headway.core.errors import InputError

# A bracket atom is one token, so are two-letter halogens and ring numbers of two digits.
_PATTERN = re.compile(
    r"(\[[^\]]+\]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|/|:|~|@|\?|>|\*|\$"
    r"|%\(\d+\)|%\d{2}|\d)"
)


def split_smiles(smiles: str, name: str) -> list[str]:
    """Cuts a SMILES into atoms, bonds, branches and rings.

    Args:
        smiles: The molecule.
        name: The file and row, for the message.

    Raises:
        InputError: If some character belongs to no token.

    Source:
        Schwaller et al. 2019, https://arxiv.org/abs/1811.02633, whose pattern is extended by ring
        numbers in parentheses.
    """
    tokens = _PATTERN.findall(smiles)
    if "".join(tokens) != smiles:  # findall leaves out what does not fit
        end = 0
        while found := _PATTERN.match(smiles, end):
            end = found.end()
        raise InputError(name, f"{smiles!r} is no SMILES: {smiles[end]!r} at place {end + 1}")
    return tokens


class SmilesTokenizer:
    """Numbers for tokens and back.

    Args:
        vocabulary: The tokens in the order of their numbers.
        start: Number of the token in front of every molecule.
        end: Number of the token behind it.
    """

    def __init__(self, vocabulary: Sequence[str], *, start: int = 1, end: int = 2) -> None:
        self.vocabulary = tuple(vocabulary)
        self.numbers = {token: place for place, token in enumerate(self.vocabulary)}
        self.start, self.end = start, end

    def encode(self, smiles: str, name: str = "SMILES") -> list[int]:
        """Returns the numbers of a molecule, between start and end.

        Raises:
            InputError: If the vocabulary lacks a token; the message lists all that it lacks.
        """
        tokens = split_smiles(smiles, name)
        unknown = sorted({token for token in tokens if token not in self.numbers})
        if unknown:
            raise InputError(
                name, f"{smiles!r} has tokens that the model does not know: {' '.join(unknown)}"
            )
        return [self.start, *(self.numbers[token] for token in tokens), self.end]

    def decode(self, numbers: Iterable[int]) -> str:
        """Returns the SMILES up to the end token."""
        tokens = []
        for number in numbers:
            if number == self.end:
                break
            if number != self.start:
                tokens.append(self.vocabulary[number])
        return "".join(tokens)
