"""What predicts properties of molecules that are given as SMILES."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.weights.preprocessing import read_preprocessing
from headway.molecules.models import Predictor
from headway.molecules.reading import Item, Reader, reader

AT_ONCE = 64


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

        Raises:
            UserError: If it has several, or none.
            InputError: If the model cannot read a molecule.
        """
        if len(self.model.properties) != 1:
            known = ", ".join(self.model.properties) or "none"
            raise UserError(f"the model predicts {known}; one property is needed")
        items = [
            self.reader.read(text, f"molecule {at}") for at, text in enumerate(smiles, start=1)
        ]
        parts = [
            self.answer(items[start : start + AT_ONCE]) for start in range(0, len(items), AT_ONCE)
        ]
        return torch.cat(parts)[:, 0].tolist() if parts else []
