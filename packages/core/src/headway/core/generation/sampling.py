"""Choosing the next token from logits."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from headway.core.cache import Cache
from headway.core.errors import UserError
from headway.core.generation.written import Written
from headway.core.module import Module

# Below this temperature only the most likely token has a chance that float32 can hold.
GREEDY = 1e-6


class Processor(Module):
    """Changes the logits of the next token: a temperature, tokens that a grammar forbids."""

    def init_state(self, rows: int, device: torch.device | None = None) -> Cache | None:
        """Returns what it remembers of each row, reset and selected with the rows; nothing by default."""
        return None

    def forward(
        self, logits: Tensor, written: Written | None = None, state: Cache | None = None
    ) -> Tensor:
        """Returns the new logits; ``-inf`` is never drawn.

        Args:
            logits: Of each row, (R, V).
            written: What the rows have written so far.
            state: Of ``init_state``; changed in place.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement forward")


class Temperature(Processor):
    """Divides the logits.

    Args:
        value: Above 0; below 1 the likely tokens become likelier.
    """

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(
        self, logits: Tensor, written: Written | None = None, state: Cache | None = None
    ) -> Tensor:
        """Returns the new logits."""
        # Counted from the largest: a small temperature may take the others to -inf, but never to nan.
        return (logits - logits.amax(dim=-1, keepdim=True)) / max(self.value, GREEDY)


class TopK(Processor):
    """Keeps the most likely tokens.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        if count < 1:
            raise UserError(f"top_k is {count}; it must be at least 1, or None for all tokens")
        self.count = count

    def forward(
        self, logits: Tensor, written: Written | None = None, state: Cache | None = None
    ) -> Tensor:
        """Returns the new logits."""
        if self.count >= logits.shape[-1]:
            return logits
        least = logits.topk(self.count, dim=-1).values[:, -1:]
        return logits.masked_fill(logits < least, -math.inf)


class TopP(Processor):
    """Keeps the most likely tokens that together reach a probability.

    Args:
        mass: The probability.

    Source:
        Holtzman et al. 2019, https://arxiv.org/abs/1904.09751.
    """

    def __init__(self, mass: float) -> None:
        super().__init__()
        if not 0 < mass <= 1:
            raise UserError(f"top_p is {mass}; it must lie between 0 and 1")
        self.mass = mass

    def forward(
        self, logits: Tensor, written: Written | None = None, state: Cache | None = None
    ) -> Tensor:
        """Returns the new logits."""
        if self.mass == 1:
            return logits
        ordered, order = logits.softmax(dim=-1).sort(dim=-1, descending=True)
        # A token stays if those before it have not reached the mass.
        late = ordered.cumsum(dim=-1) - ordered >= self.mass
        return logits.masked_fill(torch.zeros_like(late).scatter(-1, order, late), -math.inf)


class Sampling(Module):
    """Draws a token from the softmax of the logits after what changes them, in order.

    Args:
        temperature: Divides the logits; 0 takes the most likely token.
        top_k: Only so many of the most likely tokens are drawn from; all if None.
        top_p: Only the most likely tokens that together reach this probability are drawn from.
        processors: What changes the logits before these do.

    Raises:
        UserError: If a value is out of range.
    """

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        processors: Sequence[Processor] = (),
    ) -> None:
        super().__init__()
        if not 0 <= temperature < math.inf:
            raise UserError(f"temperature is {temperature}; it must be 0 (greedy) or more")
        self.greedy = temperature < GREEDY
        parts = [*processors]
        if temperature != 1 and not self.greedy:
            parts.append(Temperature(temperature))
        if top_k is not None:
            parts.append(TopK(top_k))
        if top_p is not None:
            parts.append(TopP(top_p))
        self.processors = torch.nn.ModuleList(parts)

    def init_states(self, rows: int, device: torch.device | None = None) -> list[Cache | None]:
        """Returns what each processor remembers of the rows."""
        return [part.init_state(rows, device) for part in self._parts()]

    def forward(
        self,
        logits: Tensor,
        numbers: Tensor,
        written: Written | None = None,
        states: Sequence[Cache | None] | None = None,
    ) -> Tensor:
        """Returns one token for each row.

        Args:
            logits: Of each row.
            numbers: What the rows draw, 0 <= number < 1 (``draws.uniform``).
            written: What the rows have written so far, for processors that ask.
            states: Of ``init_states``, for processors that remember.

        Shape:
            logits: (B, V). numbers: (B,). Output: (B,) int64.
        """
        return self.draw(self.changed(logits, written, states), numbers)

    def draw(self, logits: Tensor, numbers: Tensor) -> Tensor:
        """Returns one token for each row, (B,), from logits that are ``changed`` already.

        Args:
            logits: Of each row, (B, V).
            numbers: As of ``forward``.
        """
        if self.greedy:
            return logits.argmax(dim=-1)
        shares = (logits - logits.amax(dim=-1, keepdim=True)).exp()
        # float64: a number just below 1 must stay below the sum, and thousands of tokens add up.
        shares = shares.cumsum(dim=-1, dtype=torch.float64)
        return torch.searchsorted(shares, numbers[:, None] * shares[:, -1:], right=True)[:, 0]

    def changed(
        self,
        logits: Tensor,
        written: Written | None = None,
        states: Sequence[Cache | None] | None = None,
    ) -> Tensor:
        """Returns the logits that tokens are drawn from, (B, V)."""
        logits, parts = logits.float(), self._parts()
        given = [None] * len(parts) if states is None else states
        for part, state in zip(parts, given, strict=True):
            logits = part(logits, written, state)
        return logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """Returns what tokens are drawn from, (B, V), where nothing was written before."""
        return self.changed(logits).softmax(dim=-1)

    def _parts(self) -> list[Processor]:
        return list(self.processors)  # pyright: ignore[reportReturnType]
