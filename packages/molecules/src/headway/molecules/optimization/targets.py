"""The proteins that molecules are written for."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from headway.core.errors import UserError
from headway.molecules.models import DrugGen


class Targets:
    """Proteins by name, as a model is told them; they take turns.

    Args:
        model: A DrugGen.
        proteins: Sequences by name.

    Raises:
        UserError: If there is none, or the model is told no protein.
        InputError: If one is no protein, or too long for the model.
    """

    def __init__(self, model: object, proteins: Mapping[str, str]) -> None:
        if not isinstance(model, DrugGen):
            raise UserError(
                f"a {type(model).__name__} is told no protein; headway fit -c molecules/druggen_pairs trains "
                "one that is"
            )
        if not proteins:
            raise UserError("there is no protein to write molecules for; give at least one")
        self.names, self.sequences = list(proteins), list(proteins.values())
        self._known = model.told(self.sequences, self.names)

    def __len__(self) -> int:
        return len(self.sequences)

    def turn(self, step: int, count: int) -> list[int]:
        """Returns whose turn it is, for each molecule of a step: each of few, some of many."""
        return [(step * count + place) % len(self) for place in range(count)]

    def told(self, places: Sequence[int]) -> dict[str, Tensor]:
        """Returns what the model is told of some of them."""
        return {name: value[list(places)] for name, value in self._known.items()}
