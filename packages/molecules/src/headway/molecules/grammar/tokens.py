"""What each token of a vocabulary is in a SMILES: an atom with its valence, a bond, a branch, a ring."""

import functools
import re
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from rdkit import Chem

BONDS = {"-": 1, "/": 1, "\\": 1, "=": 2, "#": 3}
"""Orders of the bonds that may be written."""

_RING = re.compile(r"\d|%\d\d|%\(\d+\)")
_ATOM = re.compile(r"\[\d*(?P<symbol>[A-Za-z][a-z]?|\*)[^\]]*\]|(?P<bare>[A-Z][a-z]?|[bcnops]|\*)")
_ORGANIC = frozenset({"B", "C", "N", "O", "P", "S", "F", "Cl", "Br", "I"})
_MOST_BONDS = 8  # RDKit knows no element with more


class Kind(Enum):
    """What a token is."""

    ATOM = "atom"
    BOND = "bond"
    OPEN = "("
    CLOSE = ")"
    RING = "ring"
    DOT = "."
    END = "end"
    NEVER = "never"


class Piece(NamedTuple):
    """A token as the grammar sees it.

    Args:
        kind: What it is.
        capacity: Of an atom: the sum of the orders of its bonds that RDKit takes; of an aromatic one, its
            neighbours.
        aromatic: Whether it is an aromatic atom, each of whose bonds counts as one.
        doubles: Whether an aromatic atom may have a double bond to the outside.
        order: Of a bond.
        ring: Number of a ring.
    """

    kind: Kind
    capacity: int = 0
    aromatic: bool = False
    doubles: bool = True
    order: int = 0
    ring: int = 0


def pieces(vocabulary: Iterable[str], end: int | None) -> list[Piece]:
    """Returns what each token is; special ones, and signs that no molecule needs, are never written.

    Args:
        vocabulary: Tokens, atom by atom.
        end: Number of the end token.
    """
    found = [piece(token) for token in vocabulary]
    if end is not None:
        found[end] = Piece(Kind.END)
    return found


def piece(token: str) -> Piece:
    """Returns what a token is."""
    if token in BONDS:
        return Piece(Kind.BOND, order=BONDS[token])
    if token in ("(", ")", "."):
        return Piece(Kind(token))
    if _RING.fullmatch(token):
        return Piece(Kind.RING, ring=int(token.strip("%()")))
    found = _ATOM.fullmatch(token)
    symbol = (found["symbol"] or found["bare"]) if found else ""
    if not symbol or (found and found["bare"] and not _is_bare(symbol)):
        return Piece(Kind.NEVER)
    if symbol[0].islower():
        return _aromatic(token, symbol)
    capacity = _capacity(token)
    return Piece(Kind.ATOM, capacity) if capacity is not None else Piece(Kind.NEVER)


def _is_bare(symbol: str) -> bool:
    return symbol in _ORGANIC or symbol.islower() or symbol == "*"


@functools.cache
def _capacity(token: str) -> int | None:
    """How many single bonds RDKit lets an atom have; None if the token is no atom."""
    if token == "*":
        return _MOST_BONDS
    most = None
    for bonds in range(_MOST_BONDS + 1):
        if Chem.MolFromSmiles(token + "(C)" * bonds) is not None:
            most = bonds
    return most


@functools.cache
def _aromatic(token: str, symbol: str) -> Piece:
    """An aromatic atom: two neighbours in the ring, and one outside where its element has a bond left."""
    raw = Chem.MolFromSmiles(token, sanitize=False)
    if raw is None:
        return Piece(Kind.NEVER)
    atom = raw.GetAtomWithIdx(0)
    three = symbol in ("b", "c", "n", "p") or atom.GetFormalCharge() > 0
    hydrogens = atom.GetNumExplicitHs() if token.startswith("[") else 0
    return Piece(Kind.ATOM, (3 if three else 2) - hydrogens, aromatic=True, doubles=symbol == "c")
