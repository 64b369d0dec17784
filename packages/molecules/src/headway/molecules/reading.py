"""How molecules become what a model reads."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from headway.core.errors import InputError
from headway.molecules.chemistry import checked, rewritten
from headway.molecules.graphs import MolecularGraph, collate, graph
from headway.molecules.models import Predictor, PropertyPredictor

Item = Any
"""A molecule as a model reads it: numbers of tokens, or a graph."""


class Reader(Protocol):
    """Makes items of molecules and batches of items."""

    def read(self, smiles: str, name: str) -> Item:
        """Returns a molecule as an item.

        Raises:
            InputError: If the model cannot read it.
        """
        ...

    def batch(self, items: Sequence[Item]) -> tuple[Tensor, ...]:
        """Returns what the model takes."""
        ...


class TextReader:
    """Molecules as tokens.

    Args:
        model: Whose tokenizer it is.
        canonical: Whether the model has learned from molecules as RDKit writes them.
    """

    def __init__(self, model: PropertyPredictor, *, canonical: bool = False) -> None:
        self.model, self.canonical = model, canonical

    def read(self, smiles: str, name: str) -> list[int]:
        """Returns the numbers of the tokens."""
        found = checked(smiles, name)
        written = rewritten(found) if self.canonical else smiles
        numbers, most = self.model.tokenizer.encode(written, name), self.model.max_length
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


def reader(model: Predictor, *, canonical: bool = False) -> Reader:
    """Returns what reads molecules for a model.

    Args:
        model: The model.
        canonical: Whether it has learned from molecules as RDKit writes them.
    """
    if isinstance(model, PropertyPredictor):
        return TextReader(model, canonical=canonical)
    return GraphReader()


def size(item: Item) -> int:
    """Returns how long an item is: tokens, or atoms."""
    return len(item.atoms) if isinstance(item, MolecularGraph) else len(item)
