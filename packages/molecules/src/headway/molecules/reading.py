"""How molecules become what a model reads, and what it says of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from headway.core.errors import InputError, UserError
from headway.core.weights.preprocessing import read_preprocessing
from headway.molecules.chemistry import checked, rewritten
from headway.molecules.graphs import FORMS
from headway.molecules.models import GraphPredictor, Predictor, PropertyPredictor

AT_ONCE = 64
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
        return self.model.tokenizer.padded(items)


class GraphReader:
    """Molecules as graphs.

    Args:
        form: The form in which the model reads them, of ``graphs.FORMS``.
    """

    def __init__(self, form: str) -> None:
        self.form = FORMS[form]

    def read(self, smiles: str, name: str) -> Any:
        """Returns the graph."""
        return self.form.read(checked(smiles, name))

    def batch(self, items: Sequence[Any]) -> tuple[Tensor, ...]:
        """Returns the graphs as one batch."""
        return tuple(self.form.collate(items))


def reader(model: Predictor, *, canonical: bool = False) -> Reader:
    """Returns what reads molecules for a model.

    Args:
        model: The model.
        canonical: Whether it has learned from molecules as RDKit writes them.
    """
    if isinstance(model, PropertyPredictor):
        return TextReader(model, canonical=canonical)
    assert isinstance(model, GraphPredictor)
    return GraphReader(model.backbone.graphs)


def size(item: Item) -> int:
    """Returns how long an item is: tokens, or atoms."""
    return len(getattr(item, "atoms", item))


@dataclass(frozen=True, kw_only=True)
class Member:
    """A model that answers, alone or with others.

    Args:
        model: In evaluation mode, on its device.
        reader: Makes of molecules what the model takes.
    """

    model: Predictor
    reader: Reader

    @classmethod
    def of(cls, model: Predictor, source: str) -> Self:
        """Returns a model with what reads molecules as it has learned from them.

        Args:
            model: The model.
            source: The run or folder that it lies in.
        """
        canonical = read_preprocessing(source).get("canonical") is True
        return cls(model=model, reader=reader(model, canonical=canonical))

    def answer(self, items: Sequence[Item]) -> Tensor:
        """Returns the properties of molecules that the reader has read, (N, properties)."""
        place = self.model.mean.device
        inputs = (tensor.to(place) for tensor in self.reader.batch(items))
        return self.model.predict(*inputs).float().cpu()

    @torch.inference_mode()
    def predict(self, smiles: Sequence[str]) -> list[float]:
        """Returns the property of each molecule, for a model that has been taught a single one.

        NaN stands for a molecule that the model cannot read (tokens that it never saw, too long a text).

        Raises:
            UserError: If it has several, or none.
        """
        if len(self.model.properties) != 1:
            known = ", ".join(self.model.properties) or "none"
            raise UserError(f"the model predicts {known}; one property is needed")
        items: dict[int, Item] = {}
        for place, text in enumerate(smiles):
            try:
                items[place] = self.reader.read(text, f"molecule {place + 1}")
            except InputError:
                continue
        numbers = [math.nan] * len(smiles)
        places = list(items)
        for start in range(0, len(places), AT_ONCE):
            some = places[start : start + AT_ONCE]
            answers = self.answer([items[place] for place in some])[:, 0].tolist()
            for place, number in zip(some, answers, strict=True):
                numbers[place] = number
        return numbers
