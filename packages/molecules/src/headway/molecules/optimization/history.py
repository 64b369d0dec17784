"""The table of all that was proposed, written as it comes."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from headway.core.errors import InputError
from headway.core.files import atomic_write
from headway.core.reading import read_table
from headway.molecules.optimization.base import Proposal
from headway.molecules.scoring import Answer

COLUMNS = ("step", "smiles", "canonical_smiles", "score", "call", "new", "nll")


class History:
    """Appends the molecules of each step to a CSV.

    ``call`` is the call of the oracle at which a molecule was scored, ``new`` whether it was this row; what
    is no molecule has no ``canonical_smiles``.

    Args:
        path: The file.
        rows: So many rows of an earlier part of the run stay, those behind them go; a new file if None.

    Raises:
        InputError: If the file has fewer rows.
    """

    def __init__(self, path: Path, rows: int | None = None) -> None:
        self.path = path
        kept: list[Mapping[str, str]] = []
        if rows is not None:
            kept = [row for _, row in read_table(path)][:rows]
            if len(kept) < rows:
                raise InputError(
                    str(path), f"has {len(kept)} rows and the state {rows}; begin anew"
                )
        with atomic_write(path, "w") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows([row[name] for name in COLUMNS] for row in kept)
        self.rows = len(kept)
        self.known = {
            row["canonical_smiles"]: float(row["score"]) for row in kept if row["new"] == "1"
        }
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115

    def add(self, step: int, proposal: Proposal, answers: Sequence[Answer]) -> None:
        """Adds the molecules of a step; they are on the disk afterwards."""
        writer = csv.writer(self._file, lineterminator="\n")
        likelihoods = proposal.nll or [None] * len(answers)
        for text, one, nll in zip(proposal.smiles, answers, likelihoods, strict=True):
            said = "" if nll is None else f"{nll:.4f}"
            # repr: the score comes back as it was.
            writer.writerow(
                (step, text, one.canonical, repr(one.score), one.call, int(one.new), said)
            )
        self._file.flush()
        self.rows += len(answers)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
