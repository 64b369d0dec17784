"""What keeps an optimiser from writing variants of one molecule for ever."""

from typing import Any

from rdkit import Chem
from rdkit.Chem.Scaffolds import MurckoScaffold

from headway.core.errors import UserError
from headway.molecules.chemistry import molecule


class ScaffoldBuckets:
    """Molecules of a Murcko scaffold earn their score until its bucket is full, then nothing.

    A molecule that was there before earns nothing either.

    Args:
        size: Molecules of a bucket.
        least: Molecules that score less are not counted.

    Raises:
        UserError: If the size is below 1.

    Source:
        Blaschke et al. 2020, https://doi.org/10.1186/s13321-020-00473-0, "IdenticalMurckoScaffold".
    """

    def __init__(self, *, size: int = 25, least: float = 0.4) -> None:
        if size < 1:
            raise UserError(f"size is {size}; a bucket holds at least 1")
        self.size, self.least = size, least
        self.buckets: dict[str, int] = {}
        self.seen: set[str] = set()

    def reward(self, canonical: str, score: float) -> float:
        """Returns what a molecule earns, and takes it in."""
        if canonical in self.seen:
            return 0.0
        if score < self.least:
            return score
        self.seen.add(canonical)
        core = scaffold_of(canonical)
        self.buckets[core] = self.buckets.get(core, 0) + 1
        return score if self.buckets[core] <= self.size else 0.0

    def state_dict(self) -> dict[str, Any]:
        """Returns what was taken in."""
        return {"buckets": dict(self.buckets), "seen": sorted(self.seen)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a state."""
        self.buckets, self.seen = dict(state["buckets"]), set(state["seen"])


def scaffold_of(canonical: str) -> str:
    """Returns the SMILES of the Murcko scaffold; empty where there is no ring."""
    found = molecule(canonical)
    return "" if found is None else Chem.MolToSmiles(MurckoScaffold.GetScaffoldForMol(found))
