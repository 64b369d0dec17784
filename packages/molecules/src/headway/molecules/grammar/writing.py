"""A SMILES that is being written: what stands there, and what may follow."""

import math
from typing import NamedTuple

from headway.molecules.grammar.tokens import Kind, Piece

_AFTER_ATOM = (Kind.ATOM, Kind.RING)
_COMPLETE = (Kind.ATOM, Kind.RING, Kind.CLOSE)
_WAITS = (Kind.BOND, Kind.OPEN, None)
# No rule looks further ahead than this many tokens beyond those that an end takes.
_FORESIGHT = 6


class Opened(NamedTuple):
    """A ring whose second end is still to come.

    Args:
        atom: Where it begins.
        order: Order of its bond where it was written, else 0.
    """

    atom: int
    order: int


class Writing:
    """The atoms, branches and rings of the beginning of a SMILES.

    A token may follow if it fits to what stands there and leaves a way to end: a chain of carbons that closes
    the open rings.

    Attributes:
        last: What the last token is; None at the beginning of a molecule.
        order: Of a bond that waits for its atom, else 0.
        branches: Atoms to which the open branches lead back.
        rings: The open rings.
    """

    def __init__(self) -> None:
        self.last: Kind | None = None
        self.order = 0
        self.branches: list[int] = []
        self.rings: dict[int, Opened] = {}
        self._behind: Kind | None = None  # what the waiting bond stands behind
        self._current = -1
        self._atoms: list[Piece] = []
        self._free: list[int] = []  # bonds that each atom can still have
        self._neighbours: list[set[int]] = []

    def take(self, token: Piece) -> None:
        """Adds a token that may follow."""
        kind = token.kind
        if kind is Kind.ATOM:
            self._add(token)
        elif kind is Kind.BOND:
            self.order, self._behind = token.order, self.last
        elif kind is Kind.OPEN:
            self.branches.append(self._current)
        elif kind is Kind.CLOSE:
            self._current = self.branches.pop()
        elif kind is Kind.RING:
            self._ring(token.ring)
        elif kind is Kind.DOT:
            self._current = -1
        self.last = None if kind is Kind.DOT else kind

    def allows(self, token: Piece, left: int) -> bool:
        """Whether a token may follow and leaves a way to end.

        Args:
            token: The token.
            left: How many tokens may still be written, it and the end included.
        """
        if not self._fits(token):
            return False
        if token.kind is Kind.END:
            return True
        after = self._copy()
        after.take(token)
        return after.needed() < left

    def needed(self) -> float:
        """Returns how many tokens an end takes at most, infinity if there is none."""
        waiting = int(self.last in _WAITS)
        tokens = waiting + len(self.branches) + 1
        if not self.rings:
            return tokens
        if waiting:  # the atom that comes is a carbon
            return tokens + 2 * len(self.rings)
        host = self._host()
        if host is None:
            return math.inf
        # A carbon and a number for each ring, and one carbon more where the next would be a neighbour of the
        # atom that they all begin at; one less where a ring can be closed at once.
        more = all(ring.atom == host for ring in self.rings.values())
        return tokens + 2 * len(self.rings) + more - self._is_ready()

    def signature(self, left: int) -> tuple[object, ...]:
        """Returns what the answers of ``allows`` follow from: beginnings that share it allow the same."""
        here, back = self._current, self.branches[-1] if self.branches else None
        atom = self._atoms[here] if here >= 0 else None
        rings = tuple(
            (number, self._closing(number), ring.atom == here, ring.atom == back, ring.order)
            for number, ring in sorted(self.rings.items())
        )
        beyond = self._host(skip=1)
        return (
            *(self.last, self._behind, self.order, self._bonds(here), rings),
            *(atom is not None and atom.aromatic, atom is not None and atom.doubles),
            *(here == back, min(self._bonds(-1 if back is None else back), 3), back is None),
            *(beyond is None, all(ring.atom == beyond for ring in self.rings.values())),
            min(left - self.needed(), _FORESIGHT),
        )

    def _copy(self) -> "Writing":
        new = Writing()
        new.last, new.order = self.last, self.order
        new._behind, new._current = self._behind, self._current
        new.branches, new.rings = [*self.branches], {**self.rings}
        new._atoms, new._free = [*self._atoms], [*self._free]
        new._neighbours = [{*near} for near in self._neighbours]
        return new

    def _add(self, token: Piece) -> None:
        here = len(self._atoms)
        self._atoms.append(token)
        self._free.append(token.capacity)
        self._neighbours.append(set())
        if self._current >= 0:
            self._bond(self._current, here, self.order or 1)
        self._current, self.order, self._behind = here, 0, None

    def _bond(self, first: int, second: int, order: int) -> None:
        for one, other in ((first, second), (second, first)):
            self._free[one] -= _cost(self._atoms[one], order)
            self._neighbours[one].add(other)
            if order == 2 and self._atoms[one].aromatic:
                self._atoms[one] = self._atoms[one]._replace(doubles=False)

    def _ring(self, number: int) -> None:
        here, order = self._current, self.order
        opened = self.rings.pop(number, None)
        if opened is None:
            self.rings[number] = Opened(here, order)
            self._free[here] -= _cost(self._atoms[here], order or 1)
        else:
            # What its first end has set aside is given back before the bond is made.
            self._free[opened.atom] += _cost(self._atoms[opened.atom], opened.order or 1)
            self._bond(opened.atom, here, order or opened.order or 1)
        self.order, self._behind = 0, None

    def _fits(self, token: Piece) -> bool:
        """Whether a token may stand here, whatever comes then."""
        kind, here = token.kind, self._current
        if kind is Kind.ATOM:
            order = self.order or 1
            free = here < 0 or self._can_bond(here, order)
            return free and (here < 0 or _can_bond(token, token.capacity, order))
        if kind is Kind.BOND:
            ready = self.last is Kind.OPEN or self.last in _COMPLETE
            return ready and self._can_bond(here, token.order)
        if kind is Kind.OPEN:
            return self.last in _COMPLETE and self._bonds(here) >= 1
        if kind is Kind.CLOSE:
            return bool(self.branches) and self.last in _COMPLETE
        if kind is Kind.RING:
            behind = self._behind if self.last is Kind.BOND else self.last
            if behind not in _AFTER_ATOM:
                return False
            if token.ring in self.rings:
                return self._closing(token.ring) > 0
            most = 1 if self._atoms[here].aromatic else 2
            return self.order <= most and self._can_bond(here, self.order or 1)
        done = self.last in _COMPLETE and not self.branches and not self.rings
        return done and kind in (Kind.DOT, Kind.END)

    def _closing(self, number: int) -> int:
        """The order of the bond that would close a ring here, 0 if none can."""
        opened, here = self.rings[number], self._current
        if here < 0 or here == opened.atom or here in self._neighbours[opened.atom]:
            return 0
        if self.order and opened.order and self.order != opened.order:
            return 0
        order, first = self.order or opened.order or 1, self._atoms[opened.atom]
        kept = self._free[opened.atom] + _cost(first, opened.order or 1)  # what it has set aside
        fits = order <= 2 and _can_bond(first, kept, order) and self._can_bond(here, order)
        return order if fits else 0

    def _is_ready(self) -> bool:
        """Whether a ring can be closed at once, and the others by the carbons that come."""
        if self.last not in _AFTER_ATOM:
            return False
        here = self._current
        for number in self.rings:
            order = self._closing(number)
            others = [ring.atom for other, ring in self.rings.items() if other != number]
            if order and not others:
                return True
            free = self._free[here] - _cost(self._atoms[here], order)
            goes_on = free >= 1 or self._host(but=here) is not None
            if order and goes_on and any(atom != here for atom in others):
                return True
        return False

    def _host(self, *, skip: int = 0, but: int | None = None) -> int | None:
        """The atom that can go on: the current one, or the nearest to which a branch leads back.

        Args:
            skip: How many of these are passed over.
            but: One that does not count.
        """
        ways = [self._current, *reversed(self.branches)]
        if skip:  # the current atom and the one behind the innermost branch
            ways = ways[skip + 1 :]
        return next((atom for atom in ways if atom != but and self._bonds(atom) >= 1), None)

    def _bonds(self, atom: int) -> int:
        return self._free[atom] if atom >= 0 else 0

    def _can_bond(self, atom: int, order: int) -> bool:
        return _can_bond(self._atoms[atom], self._free[atom], order)


def _cost(atom: Piece, order: int) -> int:
    return 1 if atom.aromatic else order


def _can_bond(atom: Piece, free: int, order: int) -> bool:
    if atom.aromatic and (order > 2 or (order == 2 and not atom.doubles)):
        return False
    return free >= _cost(atom, order)
