"""Texts as characters or words."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal

from headway.core.errors import UserError
from headway.core.language import Tokenizer

Unit = Literal["characters", "words"]
Case = Literal["lower", "upper", "keep"]
BLANK = "<blank>"
# What vocabularies of other programs hold besides text: <pad>, <s>, [UNK].
_NO_TEXT = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")


class TextTokenizer(Tokenizer):
    """Cuts a text into characters (the space is one) or words, and puts it together again.

    Unicode is composed (NFC), spaces are single, letters of one case. Tokens in angle or square brackets,
    such as ``<blank>`` or ``[UNK]``, stand for no text.

    Args:
        unit: ``"characters"``, or ``"words"``: whatever stands between spaces, phonemes too.
        case: What happens to letters: ``"lower"``, ``"upper"`` or ``"keep"``.
        vocabulary: As of every ``Tokenizer``; it grows by what the training texts hold.
        padding: As of every ``Tokenizer``.
        start: As of every ``Tokenizer``.
        end: As of every ``Tokenizer``.
        unknown: As of every ``Tokenizer``.
        mask: As of every ``Tokenizer``.
        blank: As of every ``Tokenizer``.

    Raises:
        UserError: If ``unit`` or ``case`` is another word, or the vocabulary cannot be.
    """

    def __init__(
        self,
        *,
        unit: Unit = "characters",
        case: Case = "lower",
        vocabulary: Sequence[str] = (BLANK,),
        padding: int | None = None,
        start: int | None = None,
        end: int | None = None,
        unknown: int | None = None,
        mask: int | None = None,
        blank: int | None = 0,
    ) -> None:
        if unit not in ("characters", "words"):
            raise UserError(f"unit is 'characters' or 'words', got {unit!r}")
        if case not in ("lower", "upper", "keep"):
            raise UserError(f"case is 'lower', 'upper' or 'keep', got {case!r}")
        if isinstance(vocabulary, str) or not all(isinstance(token, str) for token in vocabulary):
            raise UserError(f"vocabulary is a list of texts, got {vocabulary!r:.80}")
        super().__init__(
            vocabulary=vocabulary,
            padding=padding,
            start=start,
            end=end,
            unknown=unknown,
            mask=mask,
            blank=blank,
        )
        self.unit: Unit = unit
        self.case: Case = case

    def normalise(self, text: str) -> str:
        """Returns the text composed, with single spaces and letters of one case."""
        text = " ".join(unicodedata.normalize("NFC", text).split())
        if self.case == "keep":
            return text
        return text.lower() if self.case == "lower" else text.upper()

    def split(self, text: str, name: str = "text") -> list[str]:
        """Returns the characters or words of a text."""
        text = self.normalise(text)
        return text.split() if self.unit == "words" else list(text)

    def join(self, tokens: Sequence[str]) -> str:
        """Returns the text of tokens."""
        return " ".join("".join(self.pieces(tokens)).split())

    def pieces(self, tokens: Iterable[str]) -> list[str]:
        """Returns what each token adds to the text, spaces included; nothing for those without text."""
        joint = " " if self.unit == "words" else ""
        return ["" if _NO_TEXT.fullmatch(token) else joint + token for token in tokens]


def text_tokens(tokenizer: Tokenizer, text: str, name: str = "text") -> list[int]:
    """Returns the tokens of a text, without those of start and end.

    Args:
        tokenizer: Cuts the text.
        text: The text.
        name: The recording, for the message.

    Raises:
        InputError: If the vocabulary lacks a token of it.
    """
    row = tokenizer.prompt(text, name)
    return row if tokenizer.start is None else row[1:]


def text_pieces(tokenizer: Tokenizer, numbers: Sequence[int]) -> list[str]:
    """Returns what each token adds to the text of all, spaces included.

    Args:
        tokenizer: What the numbers mean; one that joins subwords is asked what each adds to a few before it.
        numbers: The tokens.
    """
    if isinstance(tokenizer, TextTokenizer):
        return tokenizer.pieces(tokenizer.vocabulary[number] for number in numbers)
    found, context = [], 8
    for place in range(len(numbers)):
        before = tokenizer.decode(numbers[max(0, place - context) : place])
        after = tokenizer.decode(numbers[max(0, place - context) : place + 1])
        found.append(after[len(before) :] if after.startswith(before) else after)
    return found
