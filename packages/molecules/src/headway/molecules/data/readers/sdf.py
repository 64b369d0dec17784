"""SDF: blocks of coordinates, each with data behind it."""

from collections.abc import Iterator
from pathlib import Path

from rdkit import Chem

from headway.core.errors import InputError
from headway.core.reading import read_lines
from headway.molecules.data.readers.columns import NAMES
from headway.molecules.data.records import Record

MAX_LINES = 10**6
"""Lines of one molecule."""


def read_sdf(path: Path) -> Iterator[Record]:
    """Yields the molecules, numbered from 1; the first line of a block is its name.

    A block that RDKit cannot read has an empty SMILES, so that whoever asks for molecules names it.
    """
    lines: list[str] = []
    number = 1
    for at, line in read_lines(path):
        if line.startswith("$$$$"):
            yield _record(number, lines)
            lines, number = [], number + 1
            continue
        lines.append(line)
        if len(lines) > MAX_LINES:
            raise InputError(f"{path}:{at}", f"a molecule has over {MAX_LINES:,} lines")
    if any(line.strip() for line in lines):
        yield _record(number, lines)


def _record(number: int, lines: list[str]) -> Record:
    end = next((k + 1 for k, line in enumerate(lines) if line.startswith("M  END")), len(lines))
    block, properties = "\n".join(lines[:end]) + "\n", _properties(lines[end:])
    found = Chem.MolFromMolBlock(block) or Chem.MolFromMolBlock(block, sanitize=False)
    title = lines[0].strip() if lines else ""
    name = title or next((properties[key] for key in properties if key.lower() in NAMES), "")
    smiles = Chem.MolToSmiles(found) if found is not None else ""
    return Record(row=number, smiles=smiles, id=name, properties=properties)


def _properties(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    name = None
    for line in lines:
        if line.startswith(">") and "<" in line:
            name = line[line.index("<") + 1 :].partition(">")[0]
            found[name] = ""
        elif name is not None and line.strip():
            found[name] = f"{found[name]}\n{line}".strip()
    return found
