"""Numbers for the pieces of a text, and back: the part of a language model that says what its tokens mean."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self, TypedDict

import torch
from torch import Tensor

from headway.core.errors import InputError, UserError
from headway.core.module import Module

SPECIALS = ("<pad>", "<bos>", "<eos>")
"""In front of a vocabulary: what the arguments padding, start and end say by default."""


class OtherTokens(TypedDict, total=False):
    """What a ``Tokenizer`` passes on that has a start and a mask of its own."""

    padding: int | None
    end: int | None
    unknown: int | None


class SpecialTokens(OtherTokens, total=False):
    """What a ``Tokenizer`` passes on that has a mask of its own."""

    start: int | None


class TokenizerOptions(SpecialTokens, total=False):
    """What a ``Tokenizer`` passes on."""

    vocabulary: Sequence[str]
    mask: int | None


class Tokenizer(Module):
    """Cuts a text into tokens, numbers them, joins them again; an argument of a model and saved with it.

    A subclass says how a text is cut (``split``) and put together (``join``). Special tokens are numbers of
    the vocabulary; each may be missing (None), and several may be the same one.

    Args:
        vocabulary: The tokens in the order of their numbers, the special ones among them.
        padding: Number of the token behind short rows.
        start: Number of the token in front of every text.
        end: Number of the token behind it.
        unknown: Number of the token that stands for what the vocabulary lacks.
        mask: Number of the token that stands for what is hidden.
        blank: Number of the token that stands for nothing, for models that answer at every moment.

    Attributes:
        grows: Whether a token that the vocabulary lacks may be added to it.

    Raises:
        UserError: If the vocabulary names a token twice or lacks a special one.
    """

    grows: ClassVar[bool] = True

    def __init__(
        self,
        *,
        vocabulary: Sequence[str] = SPECIALS,
        padding: int | None = 0,
        start: int | None = 1,
        end: int | None = 2,
        unknown: int | None = None,
        mask: int | None = None,
        blank: int | None = None,
    ) -> None:
        super().__init__()
        self.vocabulary = tuple(vocabulary)
        self.numbers = {token: place for place, token in enumerate(self.vocabulary)}
        self.padding, self.start, self.end = padding, start, end
        self.unknown, self.mask, self.blank = unknown, mask, blank
        if len(self.numbers) != len(self.vocabulary):
            twice = next(token for token in self.numbers if self.vocabulary.count(token) > 1)
            raise UserError(f"the vocabulary names {twice!r} twice; every token stands once")
        wrong = [number for number in self.specials() if not 0 <= number < len(self.vocabulary)]
        if wrong:
            raise UserError(
                f"padding, start, end, unknown, mask and blank are tokens {self._special_numbers()}, but the "
                f"vocabulary has {len(self.vocabulary)}; begin it with {', '.join(SPECIALS)}, or say None"
            )

    def __len__(self) -> int:
        return len(self.vocabulary)

    @abstractmethod
    def split(self, text: str, name: str = "text") -> list[str]:
        """Returns the tokens of a text, known or not.

        Args:
            text: The text.
            name: The file and row, for the message.

        Raises:
            InputError: If it cannot be cut, or would not come back as it was.
        """

    def join(self, tokens: Sequence[str]) -> str:
        """Returns the text of tokens, special ones left out before."""
        return "".join(tokens)

    def specials(self) -> set[int]:
        """Returns the numbers of the special tokens."""
        return {number for number in self._special_numbers() if number is not None}

    @property
    def filling(self) -> int:
        """The number that fills rows up: of padding, or of the end, or 0."""
        return next((one for one in (self.padding, self.end) if one is not None), 0)

    def encode(self, text: str, name: str = "text", *, lenient: bool = False) -> list[int]:
        """Returns the numbers of a text, between start and end.

        Args:
            text: The text.
            name: The file and row, for the message.
            lenient: Whether ``unknown`` stands for tokens that the vocabulary lacks.

        Raises:
            InputError: If the vocabulary lacks a token; the message lists all that it lacks.
        """
        tail = [] if self.end is None else [self.end]
        return [*self.prompt(text, name, lenient=lenient), *tail]

    def prompt(self, text: str, name: str = "text", *, lenient: bool = False) -> list[int]:
        """Returns the numbers of the beginning of a text: as ``encode``, without the end."""
        head = [] if self.start is None else [self.start]
        tokens = self.split(text, name)
        if lenient and self.unknown is not None:
            return [*head, *(self.numbers.get(token, self.unknown) for token in tokens)]
        if lacking := self.lacking(tokens):
            raise InputError(
                name, f"{text!r} has tokens that the model does not know: {' '.join(lacking)}"
            )
        return [*head, *(self.numbers[token] for token in tokens)]

    def lacking(self, tokens: Iterable[str]) -> list[str]:
        """Returns which tokens the vocabulary lacks, each once, sorted."""
        return sorted({token for token in tokens if token not in self.numbers})

    def padded(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Returns rows of numbers, at least one, filled up on the right as a tensor, and their lengths."""
        lengths = torch.tensor([len(row) for row in rows])
        tokens = torch.full((len(rows), int(lengths.max())), self.filling)
        for place, row in enumerate(rows):
            tokens[place, : len(row)] = torch.as_tensor(row)
        return tokens, lengths

    def decode(self, numbers: Iterable[int]) -> str:
        """Returns the text behind the start token and up to the end token, which may be the same one."""
        row = list(numbers)
        while row and row[-1] == self.padding and row[-1] != self.end:
            row.pop()
        if row and row[0] == self.start:
            row.pop(0)
        if self.end in row:
            row = row[: row.index(self.end)]
        return self.join([self.vocabulary[number] for number in row if number != self.start])

    def with_vocabulary(self, vocabulary: Sequence[str]) -> Self:
        """Returns the same tokenizer with other tokens; the special ones stay at their numbers."""
        return type(self)(**{**self.init_args, "vocabulary": tuple(vocabulary)})

    def extended(self, tokens: Iterable[str]) -> Self:
        """Returns the same tokenizer with further tokens behind those that it has."""
        return self.with_vocabulary((*self.vocabulary, *tokens))

    def _special_numbers(self) -> tuple[Any, ...]:
        return (self.padding, self.start, self.end, self.unknown, self.mask, self.blank)


class NumberedTokens(Tokenizer):
    """Names for numbers and no way to cut a text: what a checkpoint without a tokenizer has.

    Args:
        vocabulary: As of every ``Tokenizer``.
        padding: As of every ``Tokenizer``.
        start: As of every ``Tokenizer``.
        end: As of every ``Tokenizer``.
        unknown: As of every ``Tokenizer``.
        mask: As of every ``Tokenizer``.
        blank: As of every ``Tokenizer``.
    """

    def split(self, text: str, name: str = "text") -> list[str]:
        """Raises: nobody has said what is a token.

        Raises:
            InputError: Always, but for an empty text.
        """
        if not text:
            return []
        raise InputError(
            name, "the model came without a tokenizer, so texts cannot be read; give it one"
        )
