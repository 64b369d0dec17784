"""Word and character errors of a corpus: what was said otherwise, left out and added."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Errors of one transcript or of many; they are added up, so a rate is that of the corpus.

    Args:
        substitutions: Tokens that are others.
        deletions: Tokens of the reference that are missing.
        insertions: Tokens that the reference lacks.
        reference: Tokens of the reference.
    """

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    reference: int = 0

    @property
    def total(self) -> int:
        """All errors."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors over tokens of the reference; of an empty one as many as there are errors."""
        return self.total / max(1, self.reference)

    def __add__(self, other: Self) -> Self:
        return type(self)(
            substitutions=self.substitutions + other.substitutions,
            deletions=self.deletions + other.deletions,
            insertions=self.insertions + other.insertions,
            reference=self.reference + other.reference,
        )

    def line(self, name: str) -> str:
        """Returns the rate and what it is made of, for people."""
        return (
            f"{name} {100 * self.rate:.2f} % ({self.total} of {self.reference}: {self.substitutions} "
            f"substitutions, {self.deletions} deletions, {self.insertions} insertions)"
        )


def count_errors(reference: Sequence[str], heard: Sequence[str]) -> Errors:
    """Returns the errors of the shortest way from a reference to what was heard.

    Of several such ways it is the one with the most substitutions.

    Args:
        reference: Tokens that were said.
        heard: Tokens that were heard.

    Source:
        Levenshtein 1966; the counts as NIST's sclite has them.
    """
    numbers: dict[str, int] = {}
    said, got = (
        np.array([numbers.setdefault(token, len(numbers)) for token in tokens], dtype=np.int64)
        for tokens in (reference, heard)
    )
    # An insertion or deletion costs a little more, far less than one error in all: fewest of these, then.
    unit = len(said) + len(got) + 1
    gap = unit + 1
    steps = gap * np.arange(len(got) + 1)
    costs: NDArray[np.int64] = steps
    for row, token in enumerate(said, start=1):
        after = np.empty_like(costs)
        after[0] = gap * row
        after[1:] = np.minimum(costs[:-1] + unit * (got != token), costs[1:] + gap)
        # What is inserted goes to the right, each token at the same price.
        costs = np.minimum.accumulate(after - steps) + steps
    errors, gaps = divmod(int(costs[-1]), unit)
    deletions = (gaps + len(said) - len(got)) // 2
    insertions = gaps - deletions
    return Errors(
        substitutions=errors - gaps,
        deletions=deletions,
        insertions=insertions,
        reference=len(said),
    )


def word_errors(pairs: Iterable[tuple[str, str]]) -> Errors:
    """Returns the errors in words of pairs of a reference and what was heard."""
    found = (count_errors(said.split(), heard.split()) for said, heard in pairs)
    return sum(found, start=Errors())


def character_errors(pairs: Iterable[tuple[str, str]]) -> Errors:
    """Returns the errors in characters, single spaces among them, of such pairs."""
    found = (count_errors(*(list(" ".join(text.split())) for text in pair)) for pair in pairs)
    return sum(found, start=Errors())
