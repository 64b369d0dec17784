"""A row of a file of molecules."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from headway.core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Record:
    """A molecule of a file with what stands beside it.

    Args:
        row: Line of a text, row of a table or molecule of an SDF, from 1; a header counts.
        smiles: Its SMILES, unchecked.
        id: Its name; empty where it has none.
        properties: The other cells by column, as they stand there.
    """

    row: int
    smiles: str
    id: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)

    def number(self, name: str, file: str) -> float:
        """Returns a property as a number; nan where the cell is empty.

        Args:
            name: The column.
            file: Named in the message.

        Raises:
            InputError: If there is no such column, or it holds something else.
        """
        where = f"{file}, row {self.row}"
        if name not in self.properties:
            known = ", ".join(self.properties) or "none"
            raise InputError(where, f"has no property {name}; its properties are {known}")
        cell = self.properties[name].strip()
        if not cell:
            return math.nan
        try:
            return float(cell)
        except ValueError:
            raise InputError(where, f"has {name} = {cell!r:.60}, which is no number") from None
