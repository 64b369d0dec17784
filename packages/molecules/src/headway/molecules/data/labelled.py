"""Molecules with numbers beside them."""

from torch import Tensor
from torch.utils.data import Dataset


class Labelled(Dataset[tuple[Tensor, Tensor]]):
    """Molecules with a row of numbers each.

    Args:
        molecules: Token numbers.
        values: Properties, (N, P); nan where nothing is known.
    """

    def __init__(self, molecules: Dataset[Tensor], values: Tensor) -> None:
        self.molecules, self.values = molecules, values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.molecules[index], self.values[index]
