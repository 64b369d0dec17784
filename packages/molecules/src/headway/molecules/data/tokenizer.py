"""Numbers for the tokens of SMILES."""

from collections.abc import Iterable, Sequence

from headway.core.errors import InputError
from headway.molecules.notation import split_smiles


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
        """Returns the SMILES behind the start token and up to the end token, which may be the same one."""
        tokens = []
        for place, number in enumerate(numbers):
            if place == 0 and number == self.start:
                continue
            if number == self.end:
                break
            if number != self.start:
                tokens.append(self.vocabulary[number])
        return "".join(tokens)
