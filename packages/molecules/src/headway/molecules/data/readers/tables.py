"""Tables as text, with or without a header."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from headway.core.reading import read_table
from headway.molecules.chemistry import molecule
from headway.molecules.data.readers.columns import find_columns, is_header, record
from headway.molecules.data.records import Record


def read_cells(path: Path, column: str | None, id_column: str | None) -> Iterator[Record]:
    """Yields the molecules of a table.

    A first row that has a molecule in it and no column of the names that are looked for is a row like the
    others; the columns are then called 1, 2, and so on.
    """
    rows = read_table(path, header=False)
    number, first = next(rows)
    cells = [cell.strip() for cell in first.values()]
    place = next((name for name, cell in first.items() if _is_molecule(cell.strip())), None)
    if is_header(cells, column) or (place is None and column not in first):
        named = read_table(path)
        columns = find_columns(cells, path, column, id_column)
        found = (record(at, row, columns) for at, row in named)
    else:
        columns = find_columns(list(first), path, column or place, id_column)
        found = (record(at, row, columns) for at, row in chain([(number, first)], rows))
    return (one for one in found if one is not None)


def _is_molecule(cell: str) -> bool:
    return not cell.replace(".", "").isdigit() and len(cell) < 1000 and molecule(cell) is not None
