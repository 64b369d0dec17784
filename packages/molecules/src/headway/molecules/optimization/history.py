"""The table of all that was proposed, written as it comes."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from headway.core.errors import InputError
from headway.core.files import atomic_write
from headway.core.reading import read_table
from headway.molecules.optimization.base import Proposal
from headway.molecules.scoring import Answer, pair_key

COLUMNS = ("step", "smiles", "canonical_smiles", "score", "call", "new", "nll")
PROTEIN = "protein"


class History:
    """Appends the molecules of each step to a CSV.

    ``call`` is the call of the oracle at which a molecule was scored, ``new`` whether it was this row; what
    is no molecule has no ``canonical_smiles``. Where molecules are written for proteins, a column names them.

    Args:
        path: The file.
        rows: So many rows of an earlier part of the run stay, those behind them go; a new file if None.
        proteins: Their sequences by name; None where molecules are written for nothing.

    Raises:
        InputError: If the file has fewer rows.
    """

    def __init__(
        self, path: Path, rows: int | None = None, proteins: Mapping[str, str] | None = None
    ) -> None:
        self.path = path
        columns = COLUMNS if proteins is None else (*COLUMNS, PROTEIN)
        sequences = proteins or {}
        self._names = {sequence: name for name, sequence in sequences.items()}
        kept: list[Mapping[str, str]] = []
        if rows is not None:
            kept = [row for _, row in read_table(path)][:rows]
            if len(kept) < rows:
                raise InputError(
                    str(path), f"has {len(kept)} rows and the state {rows}; begin anew"
                )
        with atomic_write(path, "w") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([row[name] for name in columns] for row in kept)
        self.rows = len(kept)
        self.known = {
            pair_key(row["canonical_smiles"], sequences.get(row.get(PROTEIN, ""))): float(
                row["score"]
            )
            for row in kept
            if row["new"] == "1"
        }
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115

    def add(self, step: int, proposal: Proposal, answers: Sequence[Answer]) -> None:
        """Adds the molecules of a step; they are on the disk afterwards."""
        writer = csv.writer(self._file, lineterminator="\n")
        likelihoods = proposal.nll or [None] * len(answers)
        proteins = proposal.proteins or [None] * len(answers)
        for text, one, nll, protein in zip(
            proposal.smiles, answers, likelihoods, proteins, strict=True
        ):
            said = "" if nll is None else f"{nll:.4f}"
            about = () if protein is None else (self._names[protein],)
            # repr: the score comes back as it was.
            writer.writerow(
                (step, text, one.canonical, repr(one.score), one.call, int(one.new), said, *about)
            )
        self._file.flush()
        self.rows += len(answers)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
