"""How a SMILES is cut into tokens: atom by atom."""

import re
from collections.abc import Iterable

from headway.core.errors import InputError, UserError

# A bracket atom is one token, so are two-letter halogens and ring numbers of two digits.
_PATTERN = re.compile(
    r"(\[[^\]]+\]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|/|:|~|@|\?|>|\*|\$"
    r"|%\(\d+\)|%\d{2}|\d)"
)
MAX_CHARACTERS = 10_000


def refuse_pieces(vocabulary: Iterable[str], source: str) -> None:
    """Raises if a vocabulary has tokens that stand for several atoms, or for no part of a SMILES.

    Molecules are cut atom by atom here: such tokens would never be used, and others in their place.

    Args:
        vocabulary: The tokens; those in angle brackets and single bracket atoms are special ones or fine.
        source: Named in the message.

    Raises:
        UserError: It names the first such token.
    """
    for token in vocabulary:
        if token.startswith("<") and token.endswith(">"):
            continue
        pieces = _PATTERN.findall(token)
        if pieces != [token]:
            raise UserError(
                f"{source} has a vocabulary of pieces such as {token!r}; molecules are cut atom by atom, so "
                "only vocabularies of atoms, bonds, branches and rings are read"
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
    if len(smiles) > MAX_CHARACTERS:
        raise InputError(
            name, f"a SMILES of {len(smiles):,} characters; at most {MAX_CHARACTERS:,} are read"
        )
    tokens = _PATTERN.findall(smiles)
    if "".join(tokens) != smiles:  # findall leaves out what does not fit
        end = 0
        while found := _PATTERN.match(smiles, end):
            end = found.end()
        raise InputError(name, f"{smiles!r} is no SMILES: {smiles[end]!r} at place {end + 1}")
    return tokens
