"""Named ways to write texts before they are compared."""

import re
import unicodedata
from collections.abc import Callable, Mapping

from headway.core.errors import UserError

# fmt: off
_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
# fmt: on
_THOUSANDS = ("", " thousand", " million", " billion")
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
    "nine": "ninth", "twelve": "twelfth",
}  # fmt: skip
_APOSTROPHE = "\N{RIGHT SINGLE QUOTATION MARK}"
_NUMBER = re.compile(r"\d+(st|nd|rd|th)?\b|\d")


def _plain(text: str) -> str:
    return " ".join(text.split())


def _words(text: str) -> str:
    """Small letters and digits; apostrophes within words stay, other marks part words."""
    text = unicodedata.normalize("NFKC", text).casefold().replace(_APOSTROPHE, "'")
    text = re.sub(r"(?<!\w)'|'(?!\w)", " ", text)
    kept = (one if one == "'" or unicodedata.category(one)[0] in "LMN" else " " for one in text)
    return " ".join("".join(kept).split())


def _english(text: str) -> str:
    """As ``words``, with numbers spelt out, thousands without their commas."""
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    return _words(_NUMBER.sub(lambda found: f" {_spelt(found[0])} ", text))


def _spelt(number: str) -> str:
    digits = number.rstrip("stndrh")
    # What is longer than any number that is said, or begins with 0, is said digit by digit.
    if len(digits) > 12 or (digits[0] == "0" and len(digits) > 1):
        return " ".join(_ONES[int(digit)] for digit in digits)
    said = _cardinal(int(digits))
    return said if digits == number else _ordinal(said)


def _cardinal(number: int) -> str:
    if number < 20:
        return _ONES[number]
    groups = ((number // 1000**power % 1000, power) for power in (3, 2, 1, 0))
    return " ".join(_hundreds(group) + _THOUSANDS[power] for group, power in groups if group)


def _hundreds(number: int) -> str:
    words = [_ONES[number // 100], "hundred"] if number >= 100 else []
    rest = number % 100
    if rest >= 20:
        words.append(_TENS[rest // 10 - 2])
        rest %= 10
    return " ".join([*words, *([_ONES[rest]] if rest else [])])


def _ordinal(said: str) -> str:
    head, _, last = said.rpartition(" ")
    last = _ORDINALS.get(last, last[:-1] + "ieth" if last.endswith("y") else last + "th")
    return f"{head} {last}".strip()


NORMALISERS: Mapping[str, Callable[[str], str]] = {
    "plain": _plain,
    "words": _words,
    "english": _english,
}
"""By name: as it stands; small letters without marks; and, in English, with numbers spelt out."""


def normalise(text: str, name: str) -> str:
    """Returns a text in the way of that name.

    Raises:
        UserError: If there is no such way.
    """
    if name not in NORMALISERS:
        raise UserError(f"there is no normaliser {name!r}; known: {', '.join(NORMALISERS)}")
    return NORMALISERS[name](text)
