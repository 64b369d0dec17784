"""Decoding under the grammar of SMILES."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from headway.core.cache import Cache
from headway.core.errors import UserError
from headway.core.generation import Processor, Written
from headway.core.language import Tokenizer
from headway.molecules.grammar.tokens import Kind, pieces
from headway.molecules.grammar.writing import Writing
from headway.molecules.notation.smiles import first_piece


class ValidSmiles(Processor):
    """Forbids every token that no SMILES can have where it would stand.

    Branches and rings that are opened are closed before ``max_length``, no bond is left without an atom, no
    atom has more bonds than RDKit takes. Whether a system of aromatic atoms has an alternating arrangement of
    bonds is not foreseen: RDKit refuses a few of the molecules (see ``only_valid``).

    Args:
        tokenizer: It cuts atom by atom and has a carbon.
        max_length: Most tokens of a text, start and end included.

    Raises:
        UserError: If the vocabulary has tokens of several atoms, no carbon, no end, or rings but no digit.
    """

    def __init__(self, tokenizer: Tokenizer, *, max_length: int) -> None:
        super().__init__()
        several = first_piece(tokenizer.vocabulary)
        if several is not None:
            raise UserError(
                f"the vocabulary has {several!r}; the grammar of SMILES needs a model whose tokens are atoms"
            )
        if "C" not in tokenizer.numbers or tokenizer.end is None:
            raise UserError("the grammar of SMILES needs a vocabulary with C and an end token")
        self.tokenizer, self.max_length = tokenizer, max_length
        self.pieces = pieces(tokenizer.vocabulary, tokenizer.end)
        self._masks = torch.zeros((0, len(self.pieces)), dtype=torch.bool)
        self._places: dict[tuple[object, ...], int] = {}

    def init_state(self, rows: int, device: torch.device | None = None) -> Cache:
        """Returns as many empty beginnings."""
        return Writings(rows, device)

    def forward(
        self, logits: Tensor, written: Written | None = None, state: Cache | None = None
    ) -> Tensor:
        """Returns the logits with ``-inf`` for what may not follow."""
        if written is None or not isinstance(state, Writings):
            raise UserError("ValidSmiles reads what was written: use it in generate")
        lengths = written.lengths.tolist()
        fresh = [row for row in range(len(lengths)) if lengths[row] != state.seen[row]]
        if fresh:
            self._read(written, state, fresh, lengths)
        places = [
            self._place(writing, self.max_length - length)
            for writing, length in zip(state.writings, lengths, strict=True)
        ]
        allowed = self._masks[torch.tensor(places)].to(logits.device)
        return logits.masked_fill(~allowed, -math.inf)

    def _read(
        self, written: Written, state: "Writings", rows: list[int], lengths: list[int]
    ) -> None:
        start = min(state.seen[row] for row in rows)
        tokens = written.tokens[:, start : max(lengths)].tolist()
        for row in rows:
            for place in range(state.seen[row], lengths[row]):
                self._take(state.writings[row], tokens[row][place - start], lengths[row], place)
            state.seen[row] = lengths[row]

    def _take(self, writing: Writing, number: int, length: int, place: int) -> None:
        piece = self.pieces[number]
        if piece.kind in (Kind.NEVER, Kind.END):
            return  # start and padding; a row that has ended waits for its successor
        if not writing.allows(piece, self.max_length - place):
            token = self.tokenizer.vocabulary[number]
            raise UserError(
                f"the beginning is no SMILES, or leaves no way to end within {self.max_length} tokens: "
                f"{token!r} cannot stand at place {place} of {length}"
            )
        writing.take(piece)

    def _place(self, writing: Writing, left: int) -> int:
        key = writing.signature(left)
        found = self._places.get(key)
        if found is None:
            mask = [
                piece.kind is not Kind.NEVER and writing.allows(piece, left)
                for piece in self.pieces
            ]
            # A row that has ended, or cannot, still draws something; nobody reads it.
            mask = mask if any(mask) else [piece.kind is Kind.END for piece in self.pieces]
            found = self._places[key] = len(self._masks)
            self._masks = torch.cat([self._masks, torch.tensor([mask])])
        return found


class Writings(Cache):
    """The beginning that each row has written.

    Args:
        rows: How many.
        device: Where the lengths shall be.
    """

    def __init__(self, rows: int, device: torch.device | None = None) -> None:
        self.writings = [Writing() for _ in range(rows)]
        self.seen = [0] * rows
        self.device = device

    @property
    def lengths(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Tokens read of each row."""
        return torch.tensor(self.seen, device=self.device)

    def reset(self, rows: Tensor | None = None) -> None:
        """Forgets rows."""
        for row in range(len(self.seen)) if rows is None else _numbers(rows):
            self.writings[row], self.seen[row] = Writing(), 0

    def select(self, rows: Tensor) -> None:
        """Keeps rows."""
        kept = _numbers(rows)
        self.writings = [self.writings[row] for row in kept]
        self.seen = [self.seen[row] for row in kept]


def _numbers(rows: Tensor) -> Sequence[int]:
    return (rows.nonzero()[:, 0] if rows.dtype == torch.bool else rows).tolist()
