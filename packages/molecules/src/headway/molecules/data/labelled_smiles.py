"""Molecules of a file with their properties."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.language import Tokenizer
from headway.core.training import Passed
from headway.molecules.data.labelled import Labelled
from headway.molecules.data.records import Record
from headway.molecules.data.smiles_file import SmilesFile, SmilesOptions
from headway.molecules.labels import labels
from headway.molecules.properties import PROPERTIES


class LabelledSmiles(SmilesFile):
    """Molecules with properties: columns of the file, or what RDKit computes of a molecule.

    What is computed is kept beside the runs of a recipe and found there the next time; with ``workers`` as
    many processes compute. An empty cell is a property that is not known.

    Args:
        properties: Columns of the file, or ``logP``, ``SA``, ``QED``, ``weight`` or ``TPSA``, which a column
            of the same name comes before.
        **molecules: As of every ``SmilesFile``: path, column, batch_size, val, split, limit and more.
    """

    def __init__(
        self,
        *,
        properties: Sequence[str] = ("logP", "SA", "weight"),
        **molecules: Passed[SmilesOptions],
    ) -> None:
        super().__init__(**molecules)
        self.properties = tuple(properties)
        self.values: dict[str, Tensor] = {}

    def setup(self, stage: str | None = None) -> None:
        """Reads, checks and splits the molecules, and finds their properties.

        Raises:
            UserError: If a property is neither in the file nor known to RDKit, or nowhere there.
        """
        super().setup(stage)
        if not self.values:
            self.values = {name: self._numbers(records) for name, records in self.splits.items()}

    def use(self, tokenizer: Tokenizer) -> None:
        """Encodes the molecules with the tokenizer of a model."""
        super().use(tokenizer)
        for split in self.splits:
            data = getattr(self, f"{split}_set")
            if data is not None:
                setattr(self, f"{split}_set", Labelled(data, self.values[split]))
        self.predict_set = self.test_set or self.val_set

    def collate(self, items: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
        """Returns token numbers, right-padded, lengths, and properties."""
        rows, values = zip(*items, strict=True)
        tokens, lengths = super().collate(list(rows))
        return tokens, lengths, torch.stack(values)

    def check_properties(self, wanted: Sequence[str]) -> None:
        """Raises unless the properties are those of a model.

        Raises:
            UserError: If the model has others, or in another order.
        """
        if self.properties != tuple(wanted):
            raise UserError(
                f"the data have the properties {', '.join(self.properties) or 'none'}, the model "
                f"{', '.join(wanted) or 'none'}; name the same ones in the same order"
            )

    def _numbers(self, records: list[Record]) -> Tensor:
        """Returns the properties of records, (N, P)."""
        file = Path(self.path).name
        columns = {name for name in self.properties for one in records if name in one.properties}
        lacking = [name for name in self.properties if name not in {*columns, *PROPERTIES}]
        if records and lacking:
            known = ", ".join(dict.fromkeys(key for one in records for key in one.properties))
            raise UserError(
                f"{file} has no column {lacking[0]!r}, and RDKit computes none; columns are "
                f"{known or 'none'}, computed are {', '.join(PROPERTIES)}"
            )
        computed = [name for name in self.properties if name not in columns]
        found = labels(
            [one.smiles for one in records], computed, workers=self.workers, folder=self._beside()
        )
        numbers = np.full((len(records), len(self.properties)), math.nan)
        for place, name in enumerate(self.properties):
            if name in columns:
                numbers[:, place] = [one.number(name, file) for one in records]
            else:
                numbers[:, place] = found[:, computed.index(name)]
        return torch.tensor(numbers, dtype=torch.float32)

    def _beside(self) -> Path | None:
        """Returns the folder of the runs of a recipe; None where nothing is trained."""
        folder = None if self.trainer is None else Path(self.trainer.default_root_dir).parent
        return folder if folder is not None and folder.is_dir() else None
