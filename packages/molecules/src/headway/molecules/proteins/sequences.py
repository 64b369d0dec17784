"""Sequences of proteins: letters that are checked, and FASTA files."""

from collections.abc import Iterator
from pathlib import Path

from headway.core.errors import InputError
from headway.core.reading import read_lines

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
# What databases write besides: one of two (B, J, Z), the two rare ones (O, U), any (X).
LETTERS = frozenset(AMINO_ACIDS + "BJOUXZ")
FASTA = (".fasta", ".fa", ".faa", ".fas")
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")


def checked_sequence(text: str, name: str) -> str:
    """Returns a sequence of amino acids, without spaces around it.

    Args:
        text: One capital letter for each residue.
        name: The file and row, for the message.

    Raises:
        InputError: If it is empty, or a letter is no amino acid.
    """
    sequence = text.strip()
    if not sequence:
        raise InputError(name, "has no sequence; give one letter for each residue")
    wrong = next((at for at, letter in enumerate(sequence) if letter not in LETTERS), None)
    if wrong is None:
        return sequence
    letter = sequence[wrong]
    remedy = "; letters are capitals" if letter.upper() in LETTERS else ""
    raise InputError(
        name, f"has {letter!r} at place {wrong + 1} of the sequence, which is no amino acid{remedy}"
    )


def is_fasta(path: str | Path) -> bool:
    """Whether a name is that of a FASTA file, packed or not."""
    found = Path(path)
    kind = found.with_suffix("") if found.suffix.lower() in _PACKED else found
    return kind.suffix.lower() in FASTA


def read_fasta(path: Path) -> Iterator[tuple[str, str]]:
    """Yields name and sequence of each protein of a FASTA file.

    The name is the first word behind ``>``; sequences may go over several lines, and empty lines are left
    out.

    Args:
        path: The file, packed (``.gz`` ...) or not.

    Raises:
        InputError: If it is missing or empty, does not begin with ``>``, has a record without a name or a
            sequence, a name twice, or a letter that is no amino acid.
    """
    name, at, parts = "", 0, []
    seen: set[str] = set()
    for number, line in read_lines(path):
        text = line.strip()
        if not text:
            continue
        if not text.startswith(">"):
            if not at:
                raise InputError(f"{path}:{number}", "is no FASTA: its first line begins with no >")
            parts.append(checked_sequence(text, f"{path}:{number}"))
            continue
        if at:
            yield name, _joined(parts, name, f"{path}:{at}")
        words = text[1:].split()
        if not words:
            raise InputError(f"{path}:{number}", "has a > without a name behind it")
        name, at, parts = words[0], number, []
        if name in seen:
            raise InputError(f"{path}:{number}", f"has the name {name!r} twice; each stands once")
        seen.add(name)
    if not at:
        raise InputError(str(path), "has no sequences")
    yield name, _joined(parts, name, f"{path}:{at}")


def _joined(parts: list[str], name: str, where: str) -> str:
    if not parts:
        raise InputError(where, f"has no sequence behind the name {name!r}")
    return "".join(parts)
