"""Texts as entries of a vocabulary, and back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal, Self

from headway.core.errors import UserError

Unit = Literal["characters", "words"]
Case = Literal["lower", "upper", "keep"]
BLANK = "<blank>"


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """Splits a text into characters or words, each an entry of a vocabulary with a blank.

    Entries in angle brackets, such as the blank, stand for no text.

    Args:
        tokens: The entries.
        unit: ``"characters"`` (the space is one) or ``"words"``.
        case: What happens to letters before.
        blank: Entry that stands for nothing.
    """

    tokens: tuple[str, ...]
    unit: Unit = "characters"
    case: Case = "lower"
    blank: int = 0

    def __post_init__(self) -> None:
        tokens = self.tokens
        if isinstance(tokens, str) or not all(isinstance(token, str) for token in tokens):
            raise UserError(f"tokens is a list of texts, got {tokens!r:.80}")
        object.__setattr__(self, "tokens", tuple(tokens))
        whole = isinstance(self.blank, int) and not isinstance(self.blank, bool)
        if not whole or not 0 <= self.blank < max(1, len(self.tokens)):
            raise UserError(f"blank is the place of an entry, 0 or more, got {self.blank!r}")
        if self.unit not in ("characters", "words"):
            raise UserError(f"unit is 'characters' or 'words', got {self.unit!r}")
        if self.case not in ("lower", "upper", "keep"):
            raise UserError(f"case is 'lower', 'upper' or 'keep', got {self.case!r}")
        if len(set(self.tokens)) != len(self.tokens) or len(self.tokens) < 2:
            raise UserError(f"a vocabulary needs the blank and different tokens, got {self.tokens}")

    @classmethod
    def from_texts(cls, texts: Iterable[str], *, unit: Unit, case: Case) -> Self:
        """Makes the vocabulary of texts: the blank, and what occurs, sorted."""
        empty = cls(tokens=(BLANK, " "), unit=unit, case=case)
        found = {part for text in texts for part in empty.split(text)}
        if not found:
            raise UserError("the training texts are empty; there is no vocabulary to make of them")
        return cls(tokens=(BLANK, *sorted(found)), unit=unit, case=case)

    def normalise(self, text: str) -> str:
        """Returns the text with single spaces and letters of one case."""
        text = " ".join(text.split())
        if self.case == "keep":
            return text
        return text.lower() if self.case == "lower" else text.upper()

    def split(self, text: str) -> list[str]:
        """Returns the characters or words of a text."""
        text = self.normalise(text)
        return text.split() if self.unit == "words" else list(text)

    def encode(self, text: str) -> list[int]:
        """Returns the entries of a text.

        Raises:
            UserError: If a part of it is not in the vocabulary.
        """
        entries = {token: place for place, token in enumerate(self.tokens)}
        parts = self.split(text)
        unknown = [part for part in parts if part not in entries]
        if unknown:
            shown = ", ".join(repr(part) for part in dict.fromkeys(unknown))
            raise UserError(f"its text has {shown}, not in the vocabulary of {len(self.tokens)}")
        return [entries[part] for part in parts]

    def decode(self, entries: Sequence[int]) -> str:
        """Returns the text of entries."""
        parts = [self.tokens[entry] for entry in entries]
        parts = [part for part in parts if not (part.startswith("<") and part.endswith(">"))]
        text = (" " if self.unit == "words" else "").join(parts)
        return " ".join(text.split())

    @classmethod
    def from_dict(cls, cfg: Mapping[str, Any]) -> Self:
        """Reads what ``as_dict`` wrote."""
        return cls(**{name: cfg[name] for name in cls.__dataclass_fields__ if name in cfg})

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields for JSON."""
        return {**asdict(self), "tokens": list(self.tokens)}


def needed_frames(entries: Sequence[int]) -> int:
    """Returns the least number of frames that CTC needs: one for each entry and each repetition."""
    return len(entries) + sum(a == b for a, b in pairwise(entries))
