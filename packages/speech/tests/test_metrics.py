"""Errors of transcripts: by brute force, over a corpus, in texts of one kind."""

import random
from functools import cache

import pytest

from headway.core.errors import UserError
from headway.speech.metrics import (
    Errors,
    character_errors,
    count_errors,
    normalise,
    word_errors,
)


def fewest(said: str, heard: str) -> tuple[int, int]:
    """Returns the least errors, and the least insertions and deletions among the ways that have so many."""

    @cache
    def best(row: int, column: int) -> tuple[int, int]:
        if not row or not column:
            return row + column, row + column
        both, gaps = best(row - 1, column - 1)
        ways = [(both + (said[row - 1] != heard[column - 1]), gaps)]
        for errors, gaps in (best(row - 1, column), best(row, column - 1)):
            ways.append((errors + 1, gaps + 1))
        return min(ways)

    return best(len(said), len(heard))


def test_errors_are_the_fewest_of_all_ways() -> None:
    drawn = random.Random(0)
    for _ in range(400):
        said, heard = ("".join(drawn.choices("abc", k=drawn.randrange(9))) for _ in range(2))
        found = count_errors(said, heard)
        gaps = found.insertions + found.deletions
        assert (found.total, gaps) == fewest(said, heard), (said, heard)
        assert found.insertions - found.deletions == len(heard) - len(said)
        assert found.reference == len(said)
    assert count_errors("abcd", "xbd") == Errors(substitutions=1, deletions=1, reference=4)


def test_a_rate_is_that_of_the_corpus_and_not_the_mean_of_its_recordings() -> None:
    pairs = [("a b c d", "a b c d"), ("e", "f g"), ("", "h")]
    found = word_errors(pairs)
    assert found == Errors(substitutions=1, insertions=2, reference=5)
    assert found.rate == pytest.approx(3 / 5)
    assert "60.00 % (3 of 5: 1 substitutions, 0 deletions, 2 insertions)" in found.line("WER")
    assert character_errors([("ab  c", "abc")]) == Errors(deletions=1, reference=4)
    assert word_errors([]).rate == 0


def test_texts_are_written_alike_before_they_are_compared() -> None:
    text = "Press 1, the 21st; it's \N{LEFT SINGLE QUOTATION MARK}$2,345\N{RIGHT SINGLE QUOTATION MARK} at 0800."
    assert normalise(text, "plain") == text
    assert normalise(text, "words") == "press 1 the 21st it's 2 345 at 0800"
    assert normalise(text, "english") == (
        "press one the twenty first it's two thousand three hundred forty five at zero eight zero zero"
    )
    assert normalise("5th 12th 20th 100th 1000000", "english") == (
        "fifth twelfth twentieth one hundredth one million"
    )
    assert normalise("Straße  ÉTÉ", "words") == "strasse été"
    with pytest.raises(UserError, match="known: plain, words, english"):
        normalise("a", "none")
