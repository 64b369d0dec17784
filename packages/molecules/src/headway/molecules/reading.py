"""How molecules become what a model reads."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from headway.core.errors import InputError
from headway.molecules.chemistry import checked
from headway.molecules.graphs import MolecularGraph, collate, graph
from headway.molecules.models import Predictor, PropertyPredictor


class Reader(Protocol):
    """Makes items of molecules and batches of items."""

    def read(self, smiles: str, name: str) -> Any:
        """Returns a molecule as an item, which has a length.

        Raises:
            InputError: If the model cannot read it.
        """
        ...

    def batch(self, items: Sequence[Any]) -> tuple[Tensor, ...]:
        """Returns what the model takes."""
        ...


class TextReader:
    """Molecules as tokens.

    Args:
        model: Whose tokenizer it is.
    """

    def __init__(self, model: PropertyPredictor) -> None:
        self.model = model

    def read(self, smiles: str, name: str) -> list[int]:
        """Returns the numbers of the tokens."""
        checked(smiles, name)
        numbers, most = self.model.tokenizer.encode(smiles, name), self.model.max_length
        if len(numbers) > most:
            reason = f"{len(numbers)} tokens are more than the {most} that the model reads"
            raise InputError(name, reason)
        return numbers

    def batch(self, items: Sequence[list[int]]) -> tuple[Tensor, ...]:
        """Returns tokens, right-padded, and lengths."""
        rows = [torch.tensor(item) for item in items]
        tokens = torch.nn.utils.rnn.pad_sequence(
            rows, batch_first=True, padding_value=self.model.tokenizer.filling
        )
        return tokens, torch.tensor([len(row) for row in rows])


class GraphReader:
    """Molecules as graphs."""

    def read(self, smiles: str, name: str) -> MolecularGraph:
        """Returns the graph."""
        return graph(checked(smiles, name))

    def batch(self, items: Sequence[MolecularGraph]) -> tuple[Tensor, ...]:
        """Returns the graphs as one batch."""
        return tuple(collate(items))


def reader(model: Predictor) -> Reader:
    """Returns what reads molecules for a model."""
    return TextReader(model) if isinstance(model, PropertyPredictor) else GraphReader()


def size(item: Any) -> int:
    """Returns how long an item is: tokens, or atoms."""
    return len(item.atoms) if isinstance(item, MolecularGraph) else len(item)
