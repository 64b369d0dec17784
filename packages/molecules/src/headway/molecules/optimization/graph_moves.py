"""Changes of a molecule as a graph: seven ways to mutate one, two ways to cross two."""

import itertools
import random
from collections.abc import Callable, Sequence

from rdkit import Chem
from rdkit.Chem import BondType

from headway.molecules.chemistry import molecule

SINGLE, DOUBLE, TRIPLE = BondType.SINGLE, BondType.DOUBLE, BondType.TRIPLE
ORDERS, SHARES = (SINGLE, DOUBLE, TRIPLE), (0.60, 0.35, 0.05)
APPENDED = {
    SINGLE: ("C", "N", "O", "F", "S", "Cl", "Br"),
    DOUBLE: ("C", "N", "O"),
    TRIPLE: ("C", "N"),
}
INSERTED = {SINGLE: ("C", "N", "O", "S"), DOUBLE: ("C", "N"), TRIPLE: ("C",)}
CHANGED = ("C", "N", "O", "F", "S", "Cl", "Br")
RINGS, RING_SHARES = (3, 4, 5, 6), (0.05, 0.05, 0.45, 0.45)
# Heavy atoms of a child: more than the least, fewer than a draw of a Gaussian.
LEAST, MEAN_SIZE, SIZE_DEVIATION = 5, 39.15, 3.50
LARGEST_RING = 6
TRIES = 10
_ALLENE, _STRAINED = (Chem.MolFromSmarts(x) for x in ("[R]=[R]=[R]", "[r3,r4]=[r3,r4]"))
_BRIDGE, _ACROSS, _AT_ONE = (
    Chem.MolFromSmarts(x) for x in ("[*]-;!@[*]", "[R]@[R]@[R]@[R]", "[R]@[R;!D2]@[R]")
)


def mutate(smiles: str, source: random.Random) -> str | None:
    """Returns a molecule that is another by one change; None if none of some tries is one.

    An atom is appended, put into a bond, taken away or changed, a bond is made another, or a ring is closed
    or opened.

    Args:
        smiles: The molecule.
        source: Of chance.

    Source:
        Jensen 2019, https://doi.org/10.1039/C8SC05372C, with the shares given there. Changes are made at one
        random place of the graph instead of choosing among all results of a reaction.
    """
    parent = _kekulised(smiles)
    if parent is None:
        return None
    for _ in range(TRIES):
        change = source.choices(MUTATIONS, MUTATION_SHARES)[0]
        for _ in range(TRIES):
            child = Chem.RWMol(parent)
            if change(child, source) and (text := _written(child, source)) and text != smiles:
                return text
    return None


def cross(one: str, other: str, source: random.Random) -> str | None:
    """Returns a molecule of a piece of each parent; None if none of some tries is one.

    Half the time both are cut at a single bond outside rings, half the time at two bonds of a ring.

    Source:
        Jensen 2019, https://doi.org/10.1039/C8SC05372C.
    """
    parents = [_kekulised(one), _kekulised(other)]
    if parents[0] is None or parents[1] is None:
        return None
    for _ in range(TRIES):
        ring = source.random() < 0.5
        for _ in range(TRIES):
            pieces = [_piece(parent, source, ring=ring) for parent in parents if parent is not None]
            if pieces[0] is None or pieces[1] is None:
                break
            text = _joined(pieces[0], pieces[1], source, ring=ring)
            if text is not None and text not in (one, other):
                return text
    return None


def _append_atom(graph: Chem.RWMol, source: random.Random) -> bool:
    order = source.choices(ORDERS, SHARES)[0]
    atom = _atom_with_hydrogens(graph, source, 1 + ORDERS.index(order))
    if atom is None:
        return False
    graph.AddBond(atom, graph.AddAtom(Chem.Atom(source.choice(APPENDED[order]))), order)
    return True


def _insert_atom(graph: Chem.RWMol, source: random.Random) -> bool:
    bond = _any_bond(graph, source)
    if bond is None:
        return False
    order = source.choices(ORDERS, SHARES)[0]
    ends = [bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()]
    source.shuffle(ends)
    graph.RemoveBond(*ends)
    new = graph.AddAtom(Chem.Atom(source.choice(INSERTED[order])))
    graph.AddBond(ends[0], new, order)
    graph.AddBond(new, ends[1], SINGLE)
    return True


def _delete_atom(graph: Chem.RWMol, source: random.Random) -> bool:
    atom = graph.GetAtomWithIdx(source.randrange(graph.GetNumAtoms()))
    beside = [one.GetIdx() for one in atom.GetNeighbors()]
    if not 1 <= len(beside) <= 4:
        return False
    # What it held together stays together: one after the other, or all at one of them.
    source.shuffle(beside)
    star = len(beside) == 4 and source.random() < 0.25
    pairs = [(beside[0], one) for one in beside[1:]] if star else list(itertools.pairwise(beside))
    for left, right in pairs:
        if graph.GetBondBetweenAtoms(left, right) is None:
            graph.AddBond(left, right, SINGLE)
    graph.RemoveAtom(atom.GetIdx())
    return True


def _change_atom(graph: Chem.RWMol, source: random.Random) -> bool:
    atom = graph.GetAtomWithIdx(source.randrange(graph.GetNumAtoms()))
    if atom.GetSymbol() not in CHANGED or atom.GetFormalCharge():
        return False
    number = Chem.Atom(source.choice(CHANGED)).GetAtomicNum()
    if number == atom.GetAtomicNum():
        return False
    atom.SetAtomicNum(number)
    return True


def _change_bond(graph: Chem.RWMol, source: random.Random) -> bool:
    bond = _any_bond(graph, source)
    if bond is None:
        return False
    order = source.choices(ORDERS, (0.45, 0.50, 0.05))[0]
    if order == bond.GetBondType():
        return False
    bond.SetBondType(order)
    return True


def _close_ring(graph: Chem.RWMol, source: random.Random) -> bool:
    size = source.choices(RINGS, RING_SHARES)[0]
    ends = [
        (one, other)
        for one in range(graph.GetNumAtoms())
        for other in range(one)
        if _can_close(graph, one) and _can_close(graph, other)
    ]
    distances = Chem.GetDistanceMatrix(graph)
    ends = [pair for pair in ends if distances[pair] == size - 1]
    if not ends:
        return False
    graph.AddBond(*source.choice(ends), SINGLE)
    return True


def _open_ring(graph: Chem.RWMol, source: random.Random) -> bool:
    bonds = [one for one in graph.GetBonds() if one.IsInRing()]
    if not bonds:
        return False
    bond = source.choice(bonds)
    graph.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
    return True


MUTATIONS: Sequence[Callable[[Chem.RWMol, random.Random], bool]] = (
    _insert_atom,
    _change_bond,
    _open_ring,
    _close_ring,
    _delete_atom,
    _change_atom,
    _append_atom,
)
MUTATION_SHARES = (0.15, 0.14, 0.14, 0.14, 0.14, 0.14, 0.15)


def _kekulised(smiles: str) -> Chem.Mol | None:
    """Returns the molecule with single and double bonds and without stereochemistry."""
    found = molecule(smiles)
    if found is None:
        return None
    Chem.RemoveStereochemistry(found)
    Chem.Kekulize(found, clearAromaticFlags=True)
    for atom in found.GetAtoms():
        # Hydrogens follow the bonds that a change leaves.
        if atom.GetSymbol() in CHANGED and not atom.GetNumRadicalElectrons():
            atom.SetNoImplicit(False)
            atom.SetNumExplicitHs(0)
    found.UpdatePropertyCache()
    return found


def _written(child: Chem.RWMol, source: random.Random) -> str | None:
    """Returns the canonical SMILES of a child; None if it is none that could be."""
    try:
        found = child.GetMol()
        Chem.SanitizeMol(found)
    except (ValueError, RuntimeError):
        return None
    size = source.gauss(MEAN_SIZE, SIZE_DEVIATION)
    if not LEAST < found.GetNumAtoms() < size or len(Chem.GetMolFrags(found)) > 1:
        return None
    rings = found.GetRingInfo().AtomRings()
    if any(len(ring) > LARGEST_RING for ring in rings):
        return None
    if rings and (found.HasSubstructMatch(_ALLENE) or found.HasSubstructMatch(_STRAINED)):
        return None
    text = Chem.MolToSmiles(found)
    return text if molecule(text) is not None else None


class _Piece:
    """Part of a molecule, and the atoms of it that have lost a bond."""

    def __init__(self, graph: Chem.Mol, atoms: Sequence[int], ends: Sequence[int]) -> None:
        self.graph = Chem.RWMol(graph)
        places = {old: new for new, old in enumerate(sorted(atoms))}
        for old in sorted(set(range(graph.GetNumAtoms())) - set(atoms), reverse=True):
            self.graph.RemoveAtom(old)
        self.ends = [places[one] for one in ends]


def _piece(parent: Chem.Mol, source: random.Random, *, ring: bool) -> _Piece | None:
    """Returns what one side of a cut is, of a bond outside rings or of two bonds of a ring."""
    if not ring:
        found = parent.GetSubstructMatches(_BRIDGE)
        cuts = [source.choice(found)] if found else []
    elif source.random() < 0.5:
        found = parent.GetSubstructMatches(_ACROSS)
        atoms = source.choice(found) if found else ()
        cuts = [atoms[:2], atoms[2:]] if atoms else []
    else:
        found = parent.GetSubstructMatches(_AT_ONE)
        atoms = source.choice(found) if found else ()
        cuts = [atoms[:2], atoms[1:]] if atoms else []
    if not cuts:
        return None
    cut = Chem.RWMol(parent)
    for left, right in cuts:
        cut.RemoveBond(left, right)
    sides = Chem.GetMolFrags(cut)
    if len(sides) != 2:
        return None
    side = source.choice(sides)
    ends = [one for pair in cuts for one in pair if one in side]
    return _Piece(cut, side, ends) if len(ends) == len(cuts) else None


def _joined(one: _Piece, other: _Piece, source: random.Random, *, ring: bool) -> str | None:
    """Returns the molecule of two pieces; the bonds of a ring may be double."""
    child = Chem.RWMol(Chem.CombineMols(one.graph, other.graph))
    shift = one.graph.GetNumAtoms()
    far = [shift + end for end in other.ends]
    source.shuffle(far)
    for left, right in zip(one.ends, far, strict=True):
        if child.GetBondBetweenAtoms(left, right) is not None:
            return None
        order = source.choice((SINGLE, DOUBLE)) if ring else SINGLE
        child.AddBond(left, right, order)
    return _written(child, source)


def _any_bond(graph: Chem.RWMol, source: random.Random) -> Chem.Bond | None:
    count = graph.GetNumBonds()
    return graph.GetBondWithIdx(source.randrange(count)) if count else None


def _atom_with_hydrogens(graph: Chem.RWMol, source: random.Random, least: int) -> int | None:
    able = [one.GetIdx() for one in graph.GetAtoms() if one.GetTotalNumHs() >= least]
    return source.choice(able) if able else None


def _can_close(graph: Chem.RWMol, place: int) -> bool:
    atom = graph.GetAtomWithIdx(place)
    return not atom.IsInRing() and atom.GetTotalNumHs() > 0
