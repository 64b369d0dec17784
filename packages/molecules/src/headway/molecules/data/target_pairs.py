"""Molecules and the proteins that they bind, as training data of a model that is told proteins."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from headway.core.errors import InputError, UserError
from headway.core.training import Passed
from headway.molecules.data.records import Record
from headway.molecules.data.smiles_file import Molecules, SmilesFile, SmilesOptions, Usable
from headway.molecules.data.splits import GroupSplit
from headway.molecules.models import DrugGen
from headway.molecules.proteins.sequences import checked_sequence, read_fasta


class Pairs(Dataset[tuple[Tensor, Tensor]]):
    """Molecules with the protein of each.

    Args:
        molecules: Token numbers.
        proteins: Token numbers of each protein.
    """

    def __init__(self, molecules: Dataset[Tensor], proteins: Sequence[Tensor]) -> None:
        self.molecules, self.proteins = molecules, proteins

    def __len__(self) -> int:
        return len(self.proteins)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.molecules[index], self.proteins[index]


class TargetPairs(SmilesFile):
    """Molecules of a table with the protein that each binds; all molecules of a protein are on one side.

    Args:
        protein: Column with a sequence, or with a name of ``sequences``.
        sequences: FASTA file with the proteins by name; the column has sequences if None.
        affinity: Column that says how well a pair binds; None if nothing does.
        least: Pairs of less affinity, or of an unknown one, are left out; all stay if None.
        **molecules: As of every ``SmilesFile``; where no ``split`` is given, proteins are drawn by chance.

    Raises:
        UserError: If ``least`` is given without ``affinity``, or all pairs are below.
    """

    def __init__(
        self,
        *,
        protein: str = "protein",
        sequences: str | None = None,
        affinity: str | None = None,
        least: float | None = None,
        **molecules: Passed[SmilesOptions],
    ) -> None:
        super().__init__(**molecules)
        if molecules.get("split") is None:
            self.split = GroupSplit(protein)
        if least is not None and affinity is None:
            raise UserError(
                f"least is {least}, but no column says the affinity; give affinity, too"
            )
        self.protein, self.sequences = protein, sequences
        self.affinity, self.least = affinity, least
        self._known: dict[str, str] = {}
        self._model: DrugGen | None = None
        self._numbers: dict[str, Tensor] = {}

    def setup(self, stage: str | None = None) -> None:
        """Reads, checks and splits the pairs.

        Raises:
            UserError: If the model that is trained is told no protein.
        """
        task = getattr(self.trainer, "lightning_module", None)
        model = getattr(task, "backbone", None)
        if isinstance(model, DrugGen):
            self.told_by(model)
        super().setup(stage)

    def told_by(self, model: DrugGen) -> None:
        """Cuts proteins as a model does it."""
        self._model, self._numbers = model, {}

    def sequence(self, record: Record, name: str) -> str:
        """Returns the protein of a row.

        Args:
            record: The row.
            name: The file and row, for the message.

        Raises:
            InputError: If it has none, or one that is not in the FASTA file.
        """
        if self.protein not in record.properties:
            known = ", ".join(record.properties) or "none"
            raise InputError(name, f"has no column {self.protein}; its columns are {known}")
        cell = record.properties[self.protein].strip()
        if self.sequences is None:
            return checked_sequence(cell, name)
        if cell not in self._known:
            file = Path(self.sequences).name
            raise InputError(name, f"names the protein {cell!r:.60}, which is not in {file}")
        return self._known[cell]

    def dataset(self, records: Sequence[Record], *, randomize: bool) -> Dataset[Any]:
        """Returns the items of a part: token numbers of molecule and protein."""
        molecules = Molecules(records, self.tokenizer, randomize=randomize)
        file = Path(self.path).name
        return Pairs(molecules, [self._protein(one, f"{file}, row {one.row}") for one in records])

    def collate(self, items: list[Any]) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Returns token numbers and lengths of molecules, and of proteins, right-padded."""
        molecules, proteins = zip(*items, strict=True)
        model = self._model
        filling = 0 if model is None else model.protein.filling(model.tokenizer)
        padded = torch.nn.utils.rnn.pad_sequence(
            list(proteins), batch_first=True, padding_value=filling
        )
        lengths = torch.tensor([len(one) for one in proteins])
        return *super().collate(list(molecules)), padded, lengths

    def preprocessing(self) -> dict[str, Any]:
        """Returns how many pairs the model has seen, of which file, and of how many proteins."""
        seen = {one.properties[self.protein] for one in self.splits.get("train", ())}
        return {**super().preprocessing(), "proteins": len(seen)}

    def _check(self, records: Sequence[Record], file: str) -> None:
        columns = {name for one in records for name in one.properties}
        for wanted in (self.protein, self.affinity):
            if wanted is not None and wanted not in columns:
                known = ", ".join(sorted(columns)) or "none"
                raise InputError(file, f"has no column {wanted}; its columns are {known}")
        if self.sequences is not None:
            self._known = dict(read_fasta(Path(self.sequences).expanduser()))

    def _chosen(self, records: list[Record], file: str) -> list[Record]:
        if self.affinity is None or self.least is None:
            return records
        column, least = self.affinity, self.least
        numbers = [one.number(column, file) for one in records]
        kept = [
            one
            for one, number in zip(records, numbers, strict=True)
            if not math.isnan(number) and number >= least
        ]
        if not kept:
            raise UserError(f"{file} has no pair with a {column} of {least:g} or more")
        return kept

    def _usable(self, record: Record, name: str) -> Usable:
        self._protein(record, name)
        return super()._usable(record, name)

    def _protein(self, record: Record, name: str) -> Tensor:
        """Returns the tokens of the protein of a row; one tensor for all molecules of a protein."""
        sequence = self.sequence(record, name)
        if sequence not in self._numbers:
            model = self._model
            found = [] if model is None else model.protein.numbers(sequence, model.tokenizer, name)
            self._numbers[sequence] = torch.tensor(found, dtype=torch.int64)
        return self._numbers[sequence]
