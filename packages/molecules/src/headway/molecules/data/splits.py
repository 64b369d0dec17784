"""Which molecules train, validate and test."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence

import numpy as np
from rdkit.Chem.Scaffolds import MurckoScaffold

from headway.core.errors import InputError
from headway.molecules.chemistry import molecule
from headway.molecules.data.records import Record


class Split(ABC):
    """In which order molecules are given out: the first are tested on, then some validate, the rest trains.

    Two rows of one molecule are on the same side whatever the split: where the first of them in that order
    is.
    """

    @abstractmethod
    def order(self, records: Sequence[Record], file: str, draws: np.random.Generator) -> list[int]:
        """Returns the places of all records in the order in which they are given out.

        Args:
            records: The molecules.
            file: Named in messages.
            draws: Where chance comes from, if it has a part in it.
        """

    def groups(self, records: Sequence[Record]) -> list[str] | None:
        """Returns what molecules of the same side have in common; None if it is the molecule itself."""
        return None


class RandomSplit(Split):
    """By chance."""

    def order(self, records: Sequence[Record], file: str, draws: np.random.Generator) -> list[int]:
        """Returns the records shuffled."""
        return draws.permutation(len(records)).tolist()


class ScaffoldSplit(Split):
    """Molecules of one scaffold are on one side; rare scaffolds are tested on, frequent ones train.

    Source:
        Wu et al. 2018, https://arxiv.org/abs/1703.00564, section 3.2; scaffolds: Bemis and Murcko 1996,
        https://doi.org/10.1021/jm9602928.
    """

    def order(self, records: Sequence[Record], file: str, draws: np.random.Generator) -> list[int]:
        """Returns the records by how frequent their scaffold is, the rarest first, shuffled among equals."""
        names = self.groups(records)
        count = Counter(names)
        chance = dict(zip(count, draws.permutation(len(count)).tolist(), strict=True))
        places = draws.permutation(len(records)).tolist()
        return sorted(places, key=lambda place: (count[names[place]], chance[names[place]]))

    def groups(self, records: Sequence[Record]) -> list[str]:
        """Returns the scaffold of each molecule; of what RDKit cannot read, its SMILES."""
        return [scaffold(one.smiles) for one in records]


class GroupSplit(Split):
    """Rows with the same cell in a column are on one side, such as the molecules of one protein.

    Args:
        column: Says what belongs together.
    """

    def __init__(self, column: str) -> None:
        self.column = column

    def order(self, records: Sequence[Record], file: str, draws: np.random.Generator) -> list[int]:
        """Returns the records group by group, the groups shuffled.

        Raises:
            InputError: If a row has no such cell.
        """
        for one in records:
            if not one.properties.get(self.column, "").strip():
                raise InputError(f"{file}, row {one.row}", f"has no {self.column} to split by")
        names = self.groups(records)
        count = list(dict.fromkeys(names))
        chance = dict(zip(count, draws.permutation(len(count)).tolist(), strict=True))
        return sorted(range(len(records)), key=lambda place: chance[names[place]])

    def groups(self, records: Sequence[Record]) -> list[str]:
        """Returns the cell of each record."""
        return [one.properties.get(self.column, "").strip() for one in records]


class TimeSplit(Split):
    """The latest are tested on, those before them validate.

    Args:
        column: Holds the time of each molecule: numbers, or texts that sort as they should (2021-03-31).
    """

    def __init__(self, column: str) -> None:
        self.column = column

    def order(self, records: Sequence[Record], file: str, draws: np.random.Generator) -> list[int]:
        """Returns the records from the latest to the earliest.

        Raises:
            InputError: If a row has no time, or numbers and texts are mixed.
        """
        cells = [one.properties.get(self.column, "").strip() for one in records]
        for one, cell in zip(records, cells, strict=True):
            if not cell:
                raise InputError(f"{file}, row {one.row}", f"has no {self.column} to split by")
        try:
            times: list[float] | list[str] = [float(cell) for cell in cells]
        except ValueError:
            times = cells
        return sorted(range(len(records)), key=lambda place: times[place], reverse=True)


def scaffold(smiles: str) -> str:
    """Returns the scaffold of a molecule, rings and what joins them; its SMILES if it is none."""
    found = molecule(smiles)
    if found is None:
        return smiles
    return MurckoScaffold.MurckoScaffoldSmiles(mol=found, includeChirality=False)
