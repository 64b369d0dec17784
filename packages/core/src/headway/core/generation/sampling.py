"""Choosing the next token from logits."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.module import Module

# Below this temperature only the most likely token has a chance that float32 can hold.
GREEDY = 1e-6


class Sampling(Module):
    """Draws a token from the softmax of the logits, all of it or its head.

    Args:
        temperature: Divides the logits; 0 takes the most likely token.
        top_k: Only so many of the most likely tokens are drawn from; all if None.
        top_p: Only the most likely tokens that together reach this probability are drawn from.

    Raises:
        UserError: If a value is out of range.

    Source:
        top_p: Holtzman et al. 2019, https://arxiv.org/abs/1904.09751.
    """

    def __init__(
        self, *, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
    ) -> None:
        super().__init__()
        if not 0 <= temperature < math.inf:
            raise UserError(f"temperature is {temperature}; it must be 0 (greedy) or more")
        if top_k is not None and top_k < 1:
            raise UserError(f"top_k is {top_k}; it must be at least 1, or None for all tokens")
        if top_p is not None and not 0 < top_p <= 1:
            raise UserError(f"top_p is {top_p}; it must lie between 0 and 1")
        self.temperature, self.top_k, self.top_p = temperature, top_k, top_p

    def forward(
        self,
        logits: Tensor,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
    ) -> Tensor:
        """Returns one token for each row.

        Args:
            logits: Of each row.
            generator: Of all rows, or one for each.

        Shape:
            logits: (B, V). Output: (B,) int64.
        """
        if self.temperature < GREEDY:
            return logits.argmax(dim=-1)
        probabilities = self.probabilities(logits)
        # The smallest of exponential waiting times with these rates is a draw from them.
        waiting = torch.empty_like(probabilities)
        if isinstance(generator, Sequence):
            for row, own in zip(waiting, generator, strict=True):
                row.exponential_(generator=own)
        else:
            waiting.exponential_(generator=generator)
        return (probabilities / waiting).argmax(dim=-1)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Returns what tokens are drawn from, (B, V)."""
        # Counted from the largest: a small temperature may take the others to -inf, but never to nan.
        logits = logits.float()
        logits = (logits - logits.amax(dim=-1, keepdim=True)) / max(self.temperature, GREEDY)
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            least = logits.topk(self.top_k, dim=-1).values[:, -1:]
            logits = logits.masked_fill(logits < least, float("-inf"))
        probabilities = logits.softmax(dim=-1)
        if self.top_p is not None and self.top_p < 1:
            ordered, order = probabilities.sort(dim=-1, descending=True)
            # A token stays if those before it have not reached top_p.
            before = ordered.cumsum(dim=-1) - ordered
            ordered = ordered.masked_fill(before >= self.top_p, 0.0)
            probabilities = torch.zeros_like(probabilities).scatter(-1, order, ordered)
        return probabilities
