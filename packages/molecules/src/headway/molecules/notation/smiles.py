"""How a SMILES is cut into tokens: atom by atom."""

import re
from collections.abc import Iterable

from headway.core.errors import InputError
from headway.core.language import Tokenizer

# A bracket atom is one token, so are two-letter halogens and ring numbers of two digits.
_PATTERN = re.compile(
    r"(\[[^\]]+\]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|/|:|~|@|\?|>|\*|\$"
    r"|%\(\d+\)|%\d{2}|\d)"
)
MAX_CHARACTERS = 10_000


class SmilesTokenizer(Tokenizer):
    """Cuts a SMILES into atoms, bonds, branches and rings.

    Source:
        Schwaller et al. 2019, https://arxiv.org/abs/1811.02633.
    """

    def split(self, text: str, name: str = "SMILES") -> list[str]:
        """Returns the atoms, bonds, branches and rings."""
        return split_smiles(text, name)


def is_atomic(token: str) -> bool:
    """Whether a token is one atom, bond, branch or ring."""
    return _PATTERN.fullmatch(token) is not None


def first_piece(vocabulary: Iterable[str]) -> str | None:
    """Returns the first token that stands for several atoms, or for no part of a SMILES; None if none does.

    Args:
        vocabulary: The tokens; those in angle brackets are special ones.
    """
    special = re.compile("<.*>")
    return next((x for x in vocabulary if not special.fullmatch(x) and not is_atomic(x)), None)


def check_length(smiles: str, name: str) -> None:
    """Raises if a SMILES is longer than ``MAX_CHARACTERS``.

    Raises:
        InputError: It names the length and the limit.
    """
    if len(smiles) > MAX_CHARACTERS:
        raise InputError(
            name, f"a SMILES of {len(smiles):,} characters; at most {MAX_CHARACTERS:,} are read"
        )


def split_smiles(smiles: str, name: str) -> list[str]:
    """Cuts a SMILES into atoms, bonds, branches and rings.

    Args:
        smiles: The molecule.
        name: The file and row, for the message.

    Raises:
        InputError: If some character belongs to no token, or it is longer than ``MAX_CHARACTERS``.

    Source:
        Schwaller et al. 2019, https://arxiv.org/abs/1811.02633, whose pattern is extended by ring
        numbers in parentheses.
    """
    check_length(smiles, name)
    tokens = _PATTERN.findall(smiles)
    if "".join(tokens) != smiles:  # findall leaves out what does not fit
        end = 0
        while found := _PATTERN.match(smiles, end):
            end = found.end()
        raise InputError(name, f"{smiles!r} is no SMILES: {smiles[end]!r} at place {end + 1}")
    return tokens
