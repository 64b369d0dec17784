"""What a mixer remembers between calls: one protocol for generation, rollouts and streaming."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.ops.inference import place_


class CacheError(UserError):
    """A cache was asked for something that it cannot do, or ran full."""


class Cache(ABC):
    """The memory of one application of a mixer; changed in place, rows independent.

    Attributes:
        lengths: Tokens seen by each row, (B,) int64.
    """

    lengths: Tensor

    @abstractmethod
    def reset(self, rows: Tensor | None = None) -> None:
        """Forgets everything, or the given rows (indices or a boolean mask)."""

    @abstractmethod
    def select(self, rows: Tensor) -> None:
        """Keeps the given rows in the given order (beam search, finished rows dropped)."""

    def reorder(self, rows: Tensor) -> None:
        """Moves rows among those that read the same memory, such as the beams of a prompt.

        It is ``select`` without a copy of what is the same in them.

        Args:
            rows: As many as there are; each comes from a row with its own memory.
        """
        self.select(rows)

    def put(self, rows: Tensor, other: Any) -> None:
        """Takes the rows of another cache of the same parts in the place of its own.

        Args:
            rows: Where they go, indices.
            other: As many rows.

        Raises:
            CacheError: If this kind of cache cannot.
        """
        raise CacheError(f"{type(self).__name__} cannot take rows of another cache")

    def rewind(self, lengths: Tensor) -> None:
        """Goes back to an earlier length of each row.

        Raises:
            CacheError: If this kind of cache cannot; use ``snapshot`` and ``restore``.
        """
        raise CacheError(f"{type(self).__name__} cannot rewind; use snapshot() and restore()")


class KeyValueCache(Cache):
    """Keys and values of an attention mixer in a static buffer, each row at its own length.

    Where attention reaches back a fixed number of tokens, a buffer of about twice as many does: when it is
    full, each row moves the tokens that are still in reach to its beginning. Memory is then constant, and so
    is the time of a step (a row moves once in as many tokens as it reaches back); it never runs full.

    Args:
        batch: Rows.
        heads: Heads of keys and values.
        max_length: Tokens that fit into a row.
        head_dim: Width of a head.
        reach: Tokens before the newest that are still read; all if None.
        dtype: Type of the buffers.
        device: Device of the buffers.

    Attributes:
        start: Tokens of each row that were left behind, (B,): the place of the first key in the sequence.
    """

    def __init__(
        self,
        *,
        batch: int,
        heads: int,
        max_length: int,
        head_dim: int,
        reach: int | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.reach = reach
        size = max_length if reach is None else min(max_length, 2 * (reach + 1))
        shape = (batch, heads, size, head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.lengths = torch.zeros(batch, dtype=torch.int64, device=device)
        self.start = torch.zeros_like(self.lengths)
        # An upper bound of how far rows are filled, on the host: slicing by it needs no synchronisation.
        self._filled = 0
        # Whether all rows are as long, which a host knows as long as nothing sets them apart.
        self._even = True

    @property
    def max_length(self) -> int:
        """Tokens that the buffer of a row holds at present."""
        return self.keys.shape[2]

    def append(
        self, keys: Tensor, values: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Appends tokens to every row.

        Args:
            keys: New keys.
            values: New values.
            lengths: How many of the new tokens are real in each (right-padded) row; all if None.

        Returns:
            All keys and values that are in reach, and how many of them the first new token of each row sees,
            itself included; each further one sees one more. The first of them sits at ``start``.

        Shape:
            keys, values: (B, H, T, D). Output: (B, H, S, D), (B, H, S, D), (B,).

        Raises:
            CacheError: If a row would exceed ``max_length``, where attention reaches back without limit.
        """
        tokens = keys.shape[2]
        if self._filled + tokens > self.max_length:
            # The bound may be loose after a reset of some rows: look before giving up.
            self._filled = self._longest()
            if self._filled + tokens > self.max_length:
                self._make_room(tokens)
        before = self.lengths - self.start
        if self._even:
            here = slice(self._filled, self._filled + tokens)
            self.keys[:, :, here] = keys
            self.values[:, :, here] = values
        else:
            place_(self.keys, keys, before)
            place_(self.values, values, before)
        self._filled += tokens
        self._even = self._even and lengths is None
        self.lengths = self.lengths + (tokens if lengths is None else lengths)
        return self.keys[:, :, : self._filled], self.values[:, :, : self._filled], before + 1

    def _longest(self) -> int:
        """Tokens in the buffer of the longest row."""
        return int((self.lengths - self.start).max()) if len(self.lengths) else 0

    def _make_room(self, tokens: int) -> None:
        """Leaves behind what is out of reach.

        Raises:
            CacheError: If nothing ever is.
        """
        if self.reach is None:
            raise CacheError(
                f"the cache holds {self.max_length} tokens, {self._filled} are taken and "
                f"{tokens} more were given; build it with a larger max_length"
            )
        gone = (self.lengths - self.start - self.reach).clamp_min(0)
        # A long prompt takes more room for once: all of its tokens are keys of each other.
        size = max(2 * (self.reach + 1), self.reach + tokens)
        kept = min(self._filled, self.reach)
        positions = gone[:, None] + torch.arange(kept, device=gone.device)
        index = positions.clamp_max(self.max_length - 1)[:, None, :, None]

        def moved(buffer: Tensor) -> Tensor:
            batch, heads, _, channels = buffer.shape
            room = buffer.new_zeros((batch, heads, size, channels))
            room[:, :, :kept] = buffer.gather(2, index.expand(-1, heads, -1, channels))
            return room

        self.keys, self.values = moved(self.keys), moved(self.values)
        self.start = self.start + gone
        self._filled = kept

    def reset(self, rows: Tensor | None = None) -> None:
        """Forgets everything, or the given rows."""
        if rows is None:
            self.lengths, self.start = torch.zeros_like(self.lengths), torch.zeros_like(self.start)
            self._filled, self._even = 0, True
        else:
            self._even = False
            self.lengths, self.start = self.lengths.clone(), self.start.clone()
            self.lengths[rows] = 0
            self.start[rows] = 0

    def select(self, rows: Tensor) -> None:
        """Keeps the given rows in the given order."""
        self.keys, self.values = self.keys[rows], self.values[rows]
        self.lengths, self.start = self.lengths[rows], self.start[rows]

    def put(self, rows: Tensor, other: Self) -> None:
        """Takes the rows of another cache in the place of its own.

        Raises:
            CacheError: If they hold more than there is room for, where attention reaches back without limit.
        """
        if other._filled > self.max_length:
            other._make_room(0)
        kept = min(other._filled, self.max_length)
        self.keys[rows, :, :kept] = other.keys[:, :, :kept].to(self.keys.dtype)
        self.values[rows, :, :kept] = other.values[:, :, :kept].to(self.values.dtype)
        self.lengths, self.start = self.lengths.clone(), self.start.clone()
        self.lengths[rows], self.start[rows] = other.lengths, other.start
        self._filled, self._even = max(self._filled, kept), False

    def rewind(self, lengths: Tensor) -> None:
        """Goes back to an earlier length of each row.

        Raises:
            CacheError: If a row was never as long, or the tokens in reach from there were left behind.
        """
        if bool((lengths > self.lengths).any()):
            raise CacheError(
                f"cannot rewind to {lengths.tolist()}: the rows hold {self.lengths.tolist()} tokens"
            )
        first = 0 if self.reach is None else (lengths - self.reach).clamp_min(0)
        if bool((first < self.start).any()):
            raise CacheError(
                f"cannot rewind to {lengths.tolist()}: attention reaches {self.reach} tokens back from "
                f"there, and the first {self.start.tolist()} are left behind"
            )
        self.lengths, self._even = lengths.to(self.lengths), False
        self._filled = self._longest()


class CrossCache(Cache):
    """Keys and values of a memory that does not grow: filled at the first step, read afterwards.

    Attributes:
        stale: Rows whose memory was forgotten and is to be filled, (B,) bool; None if there are none.
    """

    def __init__(self, batch: int, device: torch.device | None = None) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        self.stale: Tensor | None = None
        self.lengths = torch.zeros(batch, dtype=torch.int64, device=device)

    def store(self, keys: Tensor, values: Tensor, rows: Tensor | None = None) -> None:
        """Keeps the projected memory of all rows, or of some (indices)."""
        if rows is None:
            self.keys, self.values = keys, values
        elif self.keys is not None and self.values is not None:
            self.keys, self.values = self.keys.clone(), self.values.clone()
            self.keys[rows], self.values[rows] = keys, values
        self.stale = None

    def reset(self, rows: Tensor | None = None) -> None:
        """Forgets the memory, or that of the given rows, which is then filled anew at the next step."""
        if rows is None:
            self.keys = self.values = self.stale = None
            return
        stale = (
            torch.zeros_like(self.lengths, dtype=torch.bool) if self.stale is None else self.stale
        )
        self.stale = stale.clone()
        self.stale[rows] = True

    def select(self, rows: Tensor) -> None:
        """Keeps the given rows in the given order."""
        if self.keys is not None and self.values is not None:
            self.keys, self.values = self.keys[rows], self.values[rows]
        self.stale = None if self.stale is None else self.stale[rows]
        self.lengths = self.lengths[rows]

    def reorder(self, rows: Tensor) -> None:
        """Moves rows that read the same memory, which stays where it is."""
        self.stale = None if self.stale is None else self.stale[rows]
        self.lengths = self.lengths[rows]

    def put(self, rows: Tensor, other: Self) -> None:
        """Takes the rows of another cache in the place of its own; what that has not filled stays to be."""
        self.reset(rows)
        stale = self.stale
        if self.keys is None or other.keys is None or other.values is None or stale is None:
            return
        self.store(other.keys, other.values, rows)
        stale[rows] = False
        self.stale = stale if bool(stale.any()) else None

    def rewind(self, lengths: Tensor) -> None:
        """Does nothing: the memory does not depend on how many tokens were decoded."""


class RecurrentCache(Cache):
    """A state of fixed size (convolution tail, scan state); goes back only through snapshots."""

    def __init__(self, state: Tensor) -> None:
        self.state = state
        self.lengths = torch.zeros(state.shape[0], dtype=torch.int64, device=state.device)

    def reset(self, rows: Tensor | None = None) -> None:
        """Forgets everything, or the given rows."""
        state, lengths = self.state.clone(), self.lengths.clone()
        index: Any = slice(None) if rows is None else rows
        state[index] = 0
        lengths[index] = 0
        self.state, self.lengths = state, lengths

    def select(self, rows: Tensor) -> None:
        """Keeps the given rows in the given order."""
        self.state, self.lengths = self.state[rows], self.lengths[rows]

    def put(self, rows: Tensor, other: Self) -> None:
        """Takes the rows of another cache in the place of its own."""
        self.state, self.lengths = self.state.clone(), self.lengths.clone()
        self.state[rows] = other.state.to(self.state.dtype)
        self.lengths[rows] = other.lengths

    def snapshot(self) -> tuple[Tensor, Tensor]:
        """Returns a copy of the state for ``restore``."""
        return self.state.clone(), self.lengths.clone()

    def restore(self, snapshot: tuple[Tensor, Tensor]) -> None:
        """Goes back to a snapshot."""
        self.state, self.lengths = snapshot[0].clone(), snapshot[1].clone()


class CacheGroup(Cache):
    """Caches that move together: of the mixers of a block, or of the blocks of a stack."""

    def __init__(self, caches: Mapping[str, Cache] | Sequence[Cache]) -> None:
        named = caches.items() if isinstance(caches, Mapping) else enumerate(caches)
        self.caches: dict[str, Cache] = {str(name): cache for name, cache in named}

    @property
    def lengths(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Tokens seen by each row; the members agree."""
        return next(iter(self.caches.values())).lengths

    def __iter__(self) -> Iterator[Cache]:
        return iter(self.caches.values())

    def __getitem__(self, name: str | int) -> Cache:
        return self.caches[str(name)]

    def get(self, name: str) -> Cache | None:
        """Returns the member of that name, or None."""
        return self.caches.get(name)

    def reset(self, rows: Tensor | None = None) -> None:
        """Forgets everything, or the given rows, in every member."""
        for cache in self:
            cache.reset(rows)

    def select(self, rows: Tensor) -> None:
        """Keeps the given rows in every member."""
        for cache in self:
            cache.select(rows)

    def reorder(self, rows: Tensor) -> None:
        """Moves the rows of every member among those that read the same memory."""
        for cache in self:
            cache.reorder(rows)

    def put(self, rows: Tensor, other: Self) -> None:
        """Takes the rows of every member."""
        for name, cache in self.caches.items():
            cache.put(rows, other.caches[name])

    def rewind(self, lengths: Tensor) -> None:
        """Rewinds every member."""
        for cache in self:
            cache.rewind(lengths)


class ScoreCache(Cache):
    """The scores of the attention before, which the next one adds to its own (RealFormer).

    It belongs to one pass of a stack: all of its blocks share it, in order, and it begins empty. A sum of
    products of queries and keys is the product of longer ones, so it keeps queries and keys side by side and
    no scores; beside them a bias, for what else was added.
    """

    def __init__(self, batch: int, device: torch.device | None = None) -> None:
        self.query: Tensor | None = None
        self.key: Tensor | None = None
        self.bias: Tensor | None = None
        self.lengths = torch.zeros(batch, dtype=torch.int64, device=device)

    def scores(self) -> Tensor | None:
        """Returns the sum of all scores, (B, H, T, S); None in the beginning."""
        if self.query is None or self.key is None:
            return self.bias
        groups = self.query.shape[1] // self.key.shape[1]
        key = self.key.repeat_interleave(groups, dim=1) if groups > 1 else self.key
        scores = self.query @ key.transpose(-2, -1)
        return scores if self.bias is None else scores + self.bias

    def reset(self, rows: Tensor | None = None) -> None:
        """Forgets the scores; they are those of a whole batch, so single rows cannot be forgotten."""
        if rows is not None:
            raise CacheError("scores cannot be reset row by row; reset them whole")
        self.query = self.key = self.bias = None

    def select(self, rows: Tensor) -> None:
        """Keeps the given rows in the given order."""
        batch = len(self.lengths)
        if self.query is not None and self.key is not None:
            self.query, self.key = self.query[rows], self.key[rows]
        if self.bias is not None and len(self.bias) == batch:
            self.bias = self.bias[rows]
        self.lengths = self.lengths[rows]
