"""Lines: a SMILES, and perhaps a name."""

import re
from collections.abc import Iterator
from pathlib import Path

from headway.core.reading import read_lines
from headway.molecules.data.readers.columns import SMILES
from headway.molecules.data.records import Record

# What no SMILES has in it.
_BETWEEN = re.compile(r"[\s,;]+")


def read_smi(path: Path) -> Iterator[Record]:
    """Yields the molecules; a first line that says ``smiles`` is a header."""
    first = True
    for number, line in read_lines(path):
        if not line.strip():
            continue
        smiles, *rest = _BETWEEN.split(line.strip(), maxsplit=1)
        if not (first and smiles.lower() in SMILES):
            yield Record(row=number, smiles=smiles, id=rest[0] if rest else "")
        first = False
