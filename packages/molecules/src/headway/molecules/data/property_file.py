"""Molecules of a file with their properties."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from headway.core.errors import InputError, UserError
from headway.core.training import Passed
from headway.molecules.chemistry import checked, rewritten
from headway.molecules.data.labelled import Labelled
from headway.molecules.data.records import Record
from headway.molecules.data.smiles_file import Molecules, SmilesFile, SmilesOptions, Usable
from headway.molecules.models.property_predictor import CLASSIFICATION, REGRESSION

Kind = Literal["auto", "regression", "classification"]


class PropertyFile(SmilesFile):
    """Molecules of a file with columns of properties; cells may be empty.

    A property is a class if all its values are 0 or 1, otherwise a number.

    Args:
        properties: Columns of the table, or fields of the SDF.
        kind: ``regression`` or ``classification`` where the values shall not say it.
        canonical: Whether molecules are written as RDKit writes them, whatever stands in the file. Models
            are told so, and new molecules are written alike when they are predicted.
        **molecules: As of every ``SmilesFile``.

    Raises:
        UserError: If a property is named twice.
    """

    def __init__(
        self,
        *,
        properties: Sequence[str],
        kind: Kind = "auto",
        canonical: bool = True,
        **molecules: Passed[SmilesOptions],
    ) -> None:
        super().__init__(**molecules)
        if not properties or len(set(properties)) < len(properties):
            raise UserError(f"properties is {list(properties)!r:.80}; name at least one, each once")
        self.properties, self.kind, self.canonical = tuple(properties), kind, canonical

    def kinds(self) -> dict[str, str]:
        """Returns the kind of each property; call it after ``setup``."""
        values = self._labels([one for part in self.splits.values() for one in part])
        binary = (values.isnan() | (values == 0) | (values == 1)).all(dim=0).tolist()
        return {
            name: (CLASSIFICATION if two else REGRESSION) if self.kind == "auto" else self.kind
            for name, two in zip(self.properties, binary, strict=True)
        }

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Returns mean and deviation of each property in the training part, 0 and 1 for classes.

        Raises:
            UserError: If nothing is known of a property there.
        """
        labels = self._labels(self.splits["train"]).double()
        found: list[tuple[float, float]] = []
        for (name, kind), column in zip(self.kinds().items(), labels.T, strict=True):
            known = column[~column.isnan()]
            if not len(known):
                raise UserError(
                    f"{self.path} has no {name} in the training part; leave it out, or split otherwise"
                )
            deviation = float(known.std(correction=0)) or 1.0
            found.append((0.0, 1.0) if kind == CLASSIFICATION else (float(known.mean()), deviation))
        mean, scale = torch.tensor(found).T
        return mean, scale

    def dataset(self, records: Sequence[Record], *, randomize: bool) -> Dataset[Any]:
        """Returns the items of a part: token numbers and labels."""
        molecules = Molecules(records, self.tokenizer, randomize=randomize)
        return Labelled(molecules, self._labels(records))

    def collate(self, items: list[Any]) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Returns token numbers, right-padded, lengths, and labels."""
        tokens, labels = zip(*items, strict=True)
        return *super().collate(list(tokens)), torch.stack(labels)

    def preprocessing(self) -> dict[str, Any]:
        """Returns how many molecules the model has seen, of which file, and what it predicts."""
        own = {"properties": list(self.properties), "canonical": self.canonical}
        return {**super().preprocessing(), **own}

    def _check(self, records: Sequence[Record], file: str) -> None:
        for wanted in self.properties:
            told = [one for one in records if one.properties.get(wanted, "").strip()]
            if not told:
                known = ", ".join(dict.fromkeys(key for one in records for key in one.properties))
                raise InputError(
                    file, f"has no values of {wanted}; its properties are {known or 'none'}"
                )
            wrong = [error for one in told if (error := self._problem(one, wanted, file))]
            if len(wrong) == len(
                told
            ):  # a column of texts: leaving its rows out would leave nothing
                raise wrong[0]

    def _usable(self, record: Record, name: str) -> Usable:
        for wanted in self.properties:
            if problem := self._problem(record, wanted, name.rpartition(", row ")[0]):
                raise problem
        if self.canonical:
            record = replace(record, smiles=rewritten(checked(record.smiles, name)))
        return super()._usable(record, name)

    def _problem(self, record: Record, wanted: str, file: str) -> InputError | None:
        """Returns what is wrong with a label; None if nothing is."""
        try:
            value = _label(record, wanted, file)
        except InputError as error:
            return error
        where = f"{file}, row {record.row}"
        if math.isinf(value):
            return InputError(where, f"has {wanted} = {value}, which is not finite")
        if self.kind == CLASSIFICATION and value not in (0, 1) and not math.isnan(value):
            return InputError(where, f"has {wanted} = {value:g}; a class is 0 or 1")
        return None

    def _labels(self, records: Sequence[Record]) -> Tensor:
        rows = [[_label(one, name, self.path) for name in self.properties] for one in records]
        return torch.tensor(rows, dtype=torch.float32).reshape(len(rows), len(self.properties))


def _label(record: Record, name: str, file: str) -> float:
    """Returns a label, nan where the row has none."""
    return record.number(name, file) if name in record.properties else math.nan
